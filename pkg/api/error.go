package api

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ProblemType is the media type of an [Error] on the wire (RFC 9457).
const ProblemType = "application/problem+json"

// Error is what crosses HTTP when a request cannot be answered: a problem of
// RFC 9457. Detail is a sentence that an operator can act on; Status decides
// the exit status of the command that asked.
type Error struct {
	Type   string `json:"type,omitempty"`   // a URI that names the kind; absent means "about:blank"
	Title  string `json:"title,omitempty"`  // the kind in words, the same for each error of it
	Status int    `json:"status,omitempty"` // the HTTP status; 0 where no server answered
	Detail string `json:"detail"`

	Errors     []FieldError `json:"errors,omitempty"`      // of a 422: what is wrong with which parameter
	Candidates []string     `json:"candidates,omitempty"`  // of an ambiguous prefix: what it could mean
	RequestID  string       `json:"request_id,omitempty"`  // of a 500: what to look for in the server's log
	Cleared    *Count       `json:"cleared,omitempty"`     // of a clearing that failed midway: how far it came
	Next       string       `json:"next,omitempty"`        // of the same: the cursor to go on from
	State      string       `json:"state,omitempty"`       // of a rejected call: the breaker's state
	RetryAfter *Seconds     `json:"retry_after,omitempty"` // of 429 and 503: when to try again

	Code  string `json:"-"` // why no server answered: "refused", "timeout", "canceled", "unreadable", "unsupported"
	Cause error  `json:"-"` // what the transport said, for errors.Is
}

// FieldError says what is wrong with one parameter of a request.
type FieldError struct {
	Parameter string `json:"parameter"`
	Message   string `json:"message"`
}

// Errorf returns an Error of an HTTP status whose detail is formatted.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Invalid returns the 422 that names one wrong parameter.
func Invalid(parameter, format string, args ...any) *Error {
	msg := fmt.Sprintf(format, args...)
	return &Error{
		Status: 422, Detail: parameter + ": " + msg,
		Errors: []FieldError{{Parameter: parameter, Message: msg}},
	}
}

// Error returns the detail, or the title where there is none.
func (e *Error) Error() string {
	switch {
	case e.Detail != "":
		return e.Detail
	case e.Title != "":
		return e.Title
	}
	return fmt.Sprintf("HTTP status %d", e.Status)
}

// Unwrap returns the cause, if one is known.
func (e *Error) Unwrap() error { return e.Cause }

// UnmarshalJSON reads a problem, and what a Python server sends instead: a
// detail that is a string, or a list of {"loc","msg","type"}; anything else
// becomes the detail as it stands.
func (e *Error) UnmarshalJSON(b []byte) error {
	type plain Error
	var in struct {
		*plain
		Detail json.RawMessage `json:"detail"`
	}
	in.plain = (*plain)(e)
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if len(in.Detail) == 0 || json.Unmarshal(in.Detail, &e.Detail) == nil {
		return nil
	}
	var list []struct {
		Loc []any  `json:"loc"`
		Msg string `json:"msg"`
	}
	if err := json.Unmarshal(in.Detail, &list); err != nil { // a detail of the server's own making
		e.Detail = strings.ToValidUTF8(fmt.Sprintf("%.300s", in.Detail), "\uFFFD")
		return nil
	}
	var all []string
	for _, d := range list {
		name := ""
		if len(d.Loc) > 0 {
			name = fmt.Sprint(d.Loc[len(d.Loc)-1])
		}
		e.Errors = append(e.Errors, FieldError{name, d.Msg})
		all = append(all, name+": "+d.Msg)
	}
	e.Detail = strings.Join(all, "; ")
	return nil
}

// Result is one instance's answer to a question asked of a fleet. Error is nil
// exactly if Value is one.
type Result[T any] struct {
	Instance string
	Value    T
	Error    *Error
}
