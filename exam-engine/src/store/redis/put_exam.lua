-- One write of the shared list of exams. All keys carry the same hash tag.
-- KEYS: 1 index (hash: name, revision), 2 the exam (hash), 3 number of changes
-- ARGV: 1 name, 2 expected revision ("0": no such exam), 3 new revision, then field, value, field, value ...
-- Returns 0 done, 1 the revision is another.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '0') ~= ARGV[2] then return 1 end
redis.call('HSET', KEYS[2], 'r', ARGV[3], unpack(ARGV, 4))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('INCR', KEYS[3])
return 0
