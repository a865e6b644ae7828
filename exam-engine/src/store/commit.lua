-- One atomic step of a session. All keys carry the same hash tag.
-- KEYS: 1 record (hash), 2 log (stream), 3 deadline index (sorted set)
-- ARGV: 1 expected version ("0": no record), 2 new version,
--       3 not-after in Unix milliseconds or "", 4 "1" to drop all fields first,
--       5 "" to keep the deadline index, "-" to leave it, else the instant in Unix milliseconds,
--       6 member of the deadline index, 7 number n of arguments with fields,
--       8 .. 7+n field, value, field, value ..., then one encoded event each
-- Returns 0 done, 1 the version is another, 2 too late.
if (redis.call('HGET', KEYS[1], 'v') or '0') ~= ARGV[1] then return 1 end
if ARGV[3] ~= '' then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[3]) then return 2 end
end
if ARGV[4] == '1' then redis.call('DEL', KEYS[1]) end
local last = 7 + tonumber(ARGV[7])
redis.call('HSET', KEYS[1], 'v', ARGV[2], unpack(ARGV, 8, last))
if ARGV[5] == '-' then
  redis.call('ZREM', KEYS[3], ARGV[6])
elseif ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[3], ARGV[5], ARGV[6])
end
for i = last + 1, #ARGV do redis.call('XADD', KEYS[2], '0-*', 'e', ARGV[i]) end
return 0
