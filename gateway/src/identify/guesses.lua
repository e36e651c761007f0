-- Counts one try of each key in turn, up to the first that had all its tries.
-- KEYS: what is counted. ARGV: milliseconds of a window; then for each key how many tries it has.
-- Answers which key has to wait (none: 0) and how long.
for n, key in ipairs(KEYS) do
  local tries = redis.call('INCR', key)
  if tries == 1 then
    redis.call('PEXPIRE', key, ARGV[1])
  end
  if tries > tonumber(ARGV[n + 1]) then
    return { n, math.max(redis.call('PTTL', key), 0) }
  end
end
return { 0, 0 }
