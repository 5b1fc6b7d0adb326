// A request that waits for a call. Lives in the request's pool; the call may outlive it.

#pragma once

#include <optional>
#include <vector>

#include "call/call.hpp"
#include "call/events.hpp"
#include "call/flights.hpp"
#include "nginx/cache.hpp"
#include "nginx/ngx.hpp"

namespace owt {

struct Exchange final : Consumer, Waiter {
    explicit Exchange(ngx_http_request_t* request) : request(request) {}

    // turns.cpp
    void advance() noexcept override;
    void resume(KeptPtr kept) noexcept override;
    void stop() noexcept override;

    ngx_http_request_t* request;
    CallPtr call;
    std::size_t body_size = 0;
    std::optional<Caching> caching;  // if its result is to be kept
    bool submitted = false;
    bool counted = false;   // for max_calls
    bool attached = false;  // the worker is held for it, the call knows it
    bool failed = false;    // the client has not got what it wanted, and it is not the client's fault
    bool head_sent = false;
    bool body_begun = false;  // somebody else has begun to read the request's body
    bool events = false;      // the answer is a stream of events
    bool stopped = false;     // by whoever looks after the server
    Clock::time_point begun;
    std::size_t place = 0;  // where the worker shows it
    // What the timer is set for: another's result to come, output to come, the last of an answer to be read.
    enum class Due { patience, output, parting };
    Due due = Due::output;
    ngx_event_t timer{};
    // What nginx has still to send from, oldest first, and the buffers that point there.
    std::vector<Piece> unsent;
    ngx_chain_t* busy = nullptr;
    ngx_chain_t* free = nullptr;
    End end = End::open;
    // What the client is told of the call, where it has asked for events.
    std::optional<Events> told;
    unsigned told_status = 0;  // of the failure that it has been told
    bool awaits_progress = false;
    ngx_event_t later{};     // there is more to tell by then
    ngx_event_t silence{};   // events have not come for a while
    bool line_ended = true;  // by what went out last of a stream of events
    off_t length = -1;       // as the adaptor has declared it; negative if it has not
    off_t missing = -1;      // of that
};

}  // namespace owt
