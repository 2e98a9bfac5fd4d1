-- Answers claims; what is refused claims and spends nothing.
--
-- KEYS: the circuits of the endpoints, then the attempt of each item.
-- ARGV: now in ms; how many endpoints; for each item one byte, its group; then for each group:
--       its endpoint, the lease in ms, the rate per minute (0: none).
-- Answer: one letter for each item, then the time for each "o" and "r", in order.
--
-- An attempt's value says what is known of it: "b"usy, busy as the circuit's "p"robe,
-- "s"ucceeded, "f"ailed.

local now = tonumber(ARGV[1])
local endpoints = tonumber(ARGV[2])
local group_of = ARGV[3]
local circuits = redis.call('MGET', unpack(KEYS, 1, endpoints))
local changed, spent_until = {}, {}
local groups, letters, answer = {}, {}, {''}

local function read_group(index)
  local at = 4 + 3 * index
  local group = {
    endpoint = tonumber(ARGV[at]),
    lease = ARGV[at + 1],
    rate = tonumber(ARGV[at + 2]),
  }
  if group.rate > 0 then
    group.rate_key = RATE_PREFIX .. string.sub(KEYS[group.endpoint], #CIRCUIT_PREFIX + 1)
  end
  groups[index] = group
  return group
end

local function circuit_of(endpoint)
  local circuit = circuits[endpoint]
  if type(circuit) == 'string' then
    circuit = read_circuit(circuit)
    circuits[endpoint] = circuit
  end
  return circuit
end

-- delivery::RateMeter::admit. Answers what would be spent, or nil and when one is free.
local function meter(group)
  local now_us, interval = now * 1000, math.ceil(60000000 / group.rate)
  local burst = math.max(math.floor(group.rate / 60), 1)
  local spent = spent_until[group.rate_key]
  if not spent then
    spent = tonumber(redis.call('GET', group.rate_key) or 0)
  end
  spent = math.min(math.max(spent, now_us), now_us + burst * interval)
  local free_at = spent - (burst - 1) * interval
  if free_at > now_us then
    return nil, math.ceil(free_at / 1000)
  end
  return spent + interval
end

for i = 1, #group_of do
  local index = string.byte(group_of, i)
  local group = groups[index] or read_group(index)
  local key = KEYS[endpoints + i]
  local circuit = circuit_of(group.endpoint)
  local letter, mark, time, spent = 'g', 'b', nil, nil
  if circuit then
    letter = 't'
    if circuit.state ~= 'closed' then
      if now >= circuit.at then
        letter, mark = 'p', 'p'
      else
        letter, mark, time = 'o', nil, circuit.at
      end
    end
  end
  if mark and group.rate > 0 then
    spent, time = meter(group)
    if not spent then
      letter, mark = 'r', nil
    end
  end
  if mark and redis.call('SET', key, mark, 'NX', 'PX', group.lease) then
    if spent then
      spent_until[group.rate_key] = spent
    end
    if mark == 'p' then
      circuit.state, circuit.at = 'half_open', now + tonumber(group.lease)
      changed[group.endpoint] = circuit
    end
  else
    local known = redis.call('GET', key)
    if known then
      letter = known == 'p' and 'b' or known
    else
      answer[#answer + 1] = time
    end
  end
  letters[i] = letter
end

for endpoint, circuit in pairs(changed) do
  write_circuit(KEYS[endpoint], circuit)
end
for key, spent in pairs(spent_until) do
  redis.call('SET', key, string.format('%.0f', spent), 'PX', RATE_KEPT)
end
answer[1] = table.concat(letters)
return answer
