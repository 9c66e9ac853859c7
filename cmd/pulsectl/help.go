package main

import "github.com/spf13/cobra"

// examples are the first three things that people need of each noun.
var examples = map[string]string{
	"status": `  pulsectl                                     # the same, on a terminal
  pulsectl status -s http://a:8000,http://b:8000
  pulsectl status -o jq=.items[].health.status`,
	"top": `  pulsectl top
  pulsectl top --context prod-eu                # every server of a context, a row each
  pulsectl top -s http://a:8000,http://b:8000`,
	"doctor": `  pulsectl doctor
  pulsectl doctor --for 1m                      # memory and goroutines need a while
  pulsectl doctor -o jq=.items[].findings[].cause`,
	"health": `  pulsectl health
  pulsectl health redis
  pulsectl health -q > /dev/null || echo unhealthy`,
	"system": `  pulsectl system
  pulsectl system --columns process.memory_rss,process.goroutines
  pulsectl system -o env`,
	"audit": `  pulsectl audit
  pulsectl audit list --since 1h
  pulsectl audit list -o csv --columns time,actor,action,target,reason`,
	"breakers": `  pulsectl breakers                             # which dependencies fail
  pulsectl breakers show github_api             # why it opened, by which trace
  pulsectl breakers reset-all --half-open       # let trial calls decide`,
	"traces": `  pulsectl traces --status error --since 15m     # what failed
  pulsectl traces show @slowest                  # where the time went
  pulsectl traces stats --sort-by p99            # which operations are slow`,
	"profiles": `  pulsectl profiles                              # what was caught while slow
  pulsectl profiles top                          # the hottest functions of the newest
  pulsectl profiles capture --type cpu --for 30s --wait`,
	"cache": `  pulsectl cache                                 # hits, and what was evicted why
  pulsectl cache keys redis 'user:*'
  pulsectl cache clear redis 'user:*' --dry-run`,
	"alerts": `  pulsectl alerts                                # the rules that the server evaluates
  pulsectl alerts eval rules.yaml                # rule files on live data: 1 when an alert fires
  pulsectl alerts lint 'rules/*.yaml'            # rule files without a server`,
	"metrics": `  pulsectl metrics                               # the families there are
  pulsectl metrics get pulse_api_request_duration_seconds
  pulsectl metrics list 'pulse_api_cache_*' -o name`,
	"serve": `  pulsectl serve --demo                          # with traffic of its own to look at
  pulsectl serve --data-dir /var/lib/pulsectl    # traces outlive a restart
  pulsectl serve --listen 0.0.0.0:8000 --auth-token-file tokens`,
}

// addExamples gives each noun its examples.
func addExamples(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if text, ok := examples[cmd.Name()]; ok {
			cmd.Example = text
		}
	}
}
