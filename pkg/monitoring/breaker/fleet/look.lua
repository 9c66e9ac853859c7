-- look tells where the fleet is, and keeps its keys alive.
--
-- KEYS  table (hash), log (stream)
-- ARGV  breakers, bytes of a record, time to live in ms, a new epoch,
--       the whole table?, an epoch that must end
-- gives {epoch, seq, Redis's time in ms, fields left out, name, record, …}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local epoch, seq = redis.call('HGET', KEYS[1], '/epoch'), redis.call('HGET', KEYS[1], '/seq')
if not epoch or not seq or not string.match(epoch, '^%x+$') or #epoch > 32 or #seq > 15 or not string.match(seq, '^%d+$') then
	redis.call('DEL', KEYS[1], KEYS[2])
	epoch, seq = ARGV[4], '0'
	redis.call('HSET', KEYS[1], '/epoch', epoch, '/seq', seq)
elseif epoch == ARGV[6] then
	epoch = ARGV[4]
	redis.call('HSET', KEYS[1], '/epoch', epoch)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local out = {epoch, seq, string.format('%d', now), 0}
if ARGV[5] ~= '1' then
	return out
end
local n = redis.call('HLEN', KEYS[1])
if n > tonumber(ARGV[1]) + 2 then
	out[4] = n
	return out
end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	if #all[i] > 128 or #all[i + 1] > tonumber(ARGV[2]) then
		out[4] = out[4] + 1
	elseif string.sub(all[i], 1, 1) ~= '/' then
		out[#out + 1] = all[i]
		out[#out + 1] = all[i + 1]
	end
end
return out
