-- Ends claims and tells circuits how they ended.
--
-- KEYS: the circuits of the endpoints, then the attempt of each item.
-- ARGV: now in ms; how many endpoints; for each item one letter, how it ended ("s"ucceeded,
--       succeeded and the circuit must hear of it: "t", "f"ailed, failed "u"ncounted, "r"eleased);
--       for each item one byte, its group; then for each group: its endpoint, after how many
--       failures it opens.
-- Answer: one letter for each item, what it did to the circuit; nothing if none did anything.

local now = tonumber(ARGV[1])
local endpoints = tonumber(ARGV[2])
local endings = ARGV[3]
local group_of = ARGV[4]
local circuits, changed, letters = {}, {}, nil

local function group(i)
  local at = 5 + 2 * string.byte(group_of, i)
  return tonumber(ARGV[at]), tonumber(ARGV[at + 1])
end

local function circuit_of(endpoint)
  local circuit = circuits[endpoint]
  if not circuit then
    circuit = read_circuit(redis.call('GET', KEYS[endpoint]))
    circuits[endpoint] = circuit
  end
  return circuit
end

-- delivery::Circuit::failed and straggler_failed
local function failed(circuit, probing, open_after)
  circuit.failures = math.min(circuit.failures + 1, 4294967295)
  if circuit.state == 'half_open' and probing then
    circuit.open_for = math.min(2 * circuit.open_for, PROBE_AFTER_MAX)
    circuit.state, circuit.at = 'open', now + circuit.open_for
    return 'R'
  end
  if circuit.state == 'closed' and circuit.failures >= open_after then
    circuit.state, circuit.at, circuit.open_for = 'open', now + PROBE_AFTER, PROBE_AFTER
    return 'O'
  end
  return '-'
end

local function end_failed(i, key)
  local endpoint, open_after = group(i)
  local probing = redis.call('GET', key) == 'p'
  redis.call('SET', key, 'f', 'PX', DONE_KEPT)
  changed[endpoint] = true
  return failed(circuit_of(endpoint), probing, open_after)
end

-- delivery::Circuit::succeeded
local function end_succeeded(i, key)
  redis.call('SET', key, 's', 'PX', DONE_KEPT)
  local endpoint = group(i)
  local was_closed = circuit_of(endpoint).state == 'closed'
  circuits[endpoint] = read_circuit(nil)
  changed[endpoint] = true
  return was_closed and '-' or 'C'
end

-- delivery::Circuit::released
local function release_probe(i)
  local endpoint = group(i)
  local circuit = circuit_of(endpoint)
  if circuit.state == 'half_open' then
    circuit.state, circuit.at = 'open', now
    changed[endpoint] = true
  end
end

local function end_uncounted(i, key)
  local known = redis.call('GET', key)
  redis.call('SET', key, 'f', 'PX', DONE_KEPT)
  if known == 'p' then
    release_probe(i)
  end
  return '-'
end

local function end_released(i, key)
  local known = redis.call('GET', key)
  if known == 'b' or known == 'p' then
    redis.call('DEL', key)
  end
  if known == 'p' then
    release_probe(i)
  end
  return '-'
end

local ends = {
  [102] = end_failed,
  [114] = end_released,
  [116] = end_succeeded,
  [117] = end_uncounted,
}

for i = 1, #endings do
  local ending = ends[string.byte(endings, i)]
  if ending then
    letters = letters or {}
    letters[i] = ending(i, KEYS[endpoints + i])
  else
    redis.call('SET', KEYS[endpoints + i], 's', 'PX', DONE_KEPT)
  end
end

for endpoint in pairs(changed) do
  local circuit = circuits[endpoint]
  if circuit.failures == 0 then
    redis.call('DEL', KEYS[endpoint])
  else
    write_circuit(KEYS[endpoint], circuit)
  end
end
if not letters then
  return ''
end
for i = 1, #endings do
  letters[i] = letters[i] or '-'
end
return table.concat(letters)
