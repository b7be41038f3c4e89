-- Posts of 4 KiB bodies, each under a document id of its own: round, then a running number. One thread.
-- No `response` here: with it wrk makes a Lua table of every answer's headers, which costs the edge's core.
local prefix, count = "", 0
local body = string.rep("0123456789abcdef", 256)
local rest = "/main/Firefox/61.0/nightly/20180328030202 HTTP/1.1\r\nHost: incoming.example\r\n" ..
  "Content-Type: application/json\r\nDNT: 1\r\nContent-Length: 4096\r\n\r\n" .. body

function init(args)
  prefix = string.format("POST /submit/telemetry/%08x-0000-4000-8000-", tonumber(args[1]) or 0)
end

function request()
  count = count + 1
  return prefix .. string.format("%012x", count) .. rest
end

function done(summary, latency)
  local errors = summary.errors
  local refused = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("done %d %d %d", summary.requests, refused, summary.duration))
end
