-- The generic cell rate algorithm for each key in turn, up to the first that has to wait. The same as in the
-- process, in whole microseconds; a double holds those exactly for the next 200 years.
-- KEYS: what is counted. ARGV: the time now, or nothing for the clock of Redis; then for each key the
-- interval between two and how much earlier than due one may come.
-- Answers which key has to wait (none: 0) and how long.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
for n, key in ipairs(KEYS) do
  local interval, tolerance = tonumber(ARGV[2 * n]), tonumber(ARGV[2 * n + 1])
  local due = tonumber(redis.call('GET', key) or now)
  if now < due - tolerance then
    return { n, due - tolerance - now }
  end
  due = math.max(due, now) + interval
  -- When it is due the key is as good as new.
  local life = math.max(math.ceil((due - now) / 1000), 1)
  redis.call('SET', key, string.format('%.0f', due), 'PX', string.format('%.0f', life))
end
return { 0, 0 }
