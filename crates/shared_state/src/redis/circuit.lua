-- An endpoint's circuit in Redis: "<failures> <closed|open|half_open> <at> <open_for>", times in
-- ms, `at` being when the next probe may go. The rules are those of delivery::Circuit, line by
-- line; the contract suite compares them.

local function read_circuit(text)
  if not text then
    return {failures = 0, state = 'closed', at = 0, open_for = 0}
  end
  local failures, state, at, open_for = string.match(text, '^(%d+) ([%a_]+) (%d+) (%d+)$')
  return {failures = tonumber(failures), state = state, at = tonumber(at), open_for = tonumber(open_for)}
end

local function write_circuit(key, circuit)
  local text = string.format('%d %s %.0f %.0f', circuit.failures, circuit.state, circuit.at, circuit.open_for)
  redis.call('SET', key, text, 'PX', CIRCUIT_KEPT)
end
