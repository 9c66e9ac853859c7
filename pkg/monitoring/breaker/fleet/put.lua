-- put enters a move into the fleet's log and its table, or refuses it.
--
-- KEYS  table (hash), log (stream)
-- ARGV  name, seq that the move knows of, generation, origin, ordered, late,
--       body, length of the log, breakers, time to live in ms, a new epoch
-- gives {1 taken, 0 refused, 2 taken but the table is full, record, epoch}
local function number(s)
	return s and #s < 16 and string.match(s, '^%d+$') and tonumber(s)
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local epoch = redis.call('HGET', KEYS[1], '/epoch')
local seq = number(redis.call('HGET', KEYS[1], '/seq'))
if not epoch or not seq or not string.match(epoch, '^%x+$') or #epoch > 32 then
	redis.call('DEL', KEYS[1], KEYS[2]) -- flushed, evicted, or not ours
	epoch, seq = ARGV[11], 0
	redis.call('HSET', KEYS[1], '/epoch', epoch, '/seq', '0')
end
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and #old <= 4096 then
	local known, body = string.match(old, '^(%d+) %d+ %x+ (.*)$')
	local ok, o = pcall(cjson.decode, body or '')
	if known and #known < 16 and ok and type(o) == 'table' then
		if o.o == ARGV[4] and o.g == ARGV[3] then
			return {1, old, epoch} -- the answer to the first attempt was lost
		end
		local ordered, late = ARGV[5] == '1', ARGV[6] == '1'
		if known ~= ARGV[2] and (not ordered or (late and o.x == true)) then
			return {0, old, epoch}
		end
	end
end
seq = seq + 1
local record = string.format('%d %d %s %s', seq, now, epoch, ARGV[7])
local kept = old or redis.call('HLEN', KEYS[1]) < tonumber(ARGV[9]) + 2
redis.call('HSET', KEYS[1], '/seq', string.format('%d', seq))
if kept then
	redis.call('HSET', KEYS[1], ARGV[1], record)
end
local id = string.format('%d-0', seq)
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[8], id, 'm', record)
if type(added) == 'table' and added.err then
	redis.call('DEL', KEYS[2]) -- it has entries that are not ours, above the id
	redis.call('XADD', KEYS[2], id, 'm', record)
end
redis.call('PEXPIRE', KEYS[1], ARGV[10])
redis.call('PEXPIRE', KEYS[2], ARGV[10])
return {kept and 1 or 2, record, epoch}
