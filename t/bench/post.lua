-- wrk's side of a reading: posts the same JSON over and over, and at the end prints what it saw as one line of JSON.
--
--   wrk -s post.lua URL -- BODY

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function init(args)
    wrk.body = args[1]
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "longest": %.6f, "bad": %d, "failed": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
        latency.max / 1e6,
        e.status, e.connect + e.read + e.write + e.timeout))
end
