// What an exchange passes on, what is still to be taken of it, and how it ends.

#include "nginx/passing.hpp"

#include "nginx/conf.hpp"
#include "nginx/sending.hpp"
#include "nginx/state.hpp"
#include "nginx/worker.hpp"

namespace owt {

namespace {

constexpr ngx_msec_t time_to_read = 1000;

void stop_telling(Exchange& exchange) {
    for (ngx_event_t* event : {&exchange.later, &exchange.silence}) {
        if (event->timer_set) {
            ngx_del_timer(event);
        }
        if (event->posted) {
            ngx_delete_posted_event(event);
        }
    }
}

// rc is what the request is finalized with.
Outcome ended(const Exchange& exchange, ngx_int_t rc) {
    if (exchange.stopped) {
        return Outcome::cancelled;
    }
    auto status = static_cast<unsigned>(exchange.request->headers_out.status);
    if (exchange.told_status != 0) {
        return outcome_of(exchange.told_status);
    }
    if (exchange.failed) {
        return exchange.head_sent && status < 500 ? Outcome::aborted : Outcome::server_error;
    }
    if (rc == NGX_ERROR || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST || rc == NGX_HTTP_REQUEST_TIME_OUT) {
        return Outcome::cancelled;
    }
    return outcome_of(rc >= NGX_HTTP_SPECIAL_RESPONSE ? static_cast<unsigned>(rc) : status);
}

// ngx_http_output_filter(), and what is left then of a write that the client's socket had no room for. Filters with
// buffers of their own (gzip, gunzip) pass on nothing once those are sent, be it that TLS still has some of it, or the
// end of the chunk which another filter has made of them is not: it would wait for more output.
ngx_int_t put_out(ngx_http_request_t* request, ngx_chain_t* out) {
    ngx_int_t rc = ngx_http_output_filter(request, out);
    const ngx_connection_t* connection = request->connection;
    bool left = (connection->buffered & NGX_LOWLEVEL_BUFFERED) != 0 ||
                ((connection->buffered & NGX_HTTP_WRITE_BUFFERED) != 0 && request->out != nullptr);
    bool may = rc != NGX_ERROR && connection->data == request && connection->write->ready;
    return left && may ? ngx_http_write_filter(request, nullptr) : rc;
}

// What a browser has received and its page has not yet read is lost with an answer that breaks off, and in a stream of
// events the last one says why it does. False if the exchange is over.
bool abort_once_read(Exchange& exchange) {
    if (!exchange.events) {
        abort(exchange);
        return false;
    }
    if (exchange.due != Exchange::Due::parting) {
        start_timer(exchange, Exchange::Due::parting, time_to_read);
    }
    return true;
}

}  // namespace

Exchange* exchange_of(ngx_http_request_t* request) {
    RequestState* state = find_state(request);
    return state != nullptr ? static_cast<Exchange*>(state->exchange) : nullptr;
}

void stop_timer(Exchange& exchange) {
    if (exchange.timer.timer_set) {
        ngx_del_timer(&exchange.timer);
    }
}

void start_timer(Exchange& exchange, Exchange::Due due, ngx_msec_t after) {
    // ngx_add_timer() by itself leaves a timer that has less than 0.3 s to gain as it is.
    stop_timer(exchange);
    exchange.due = due;
    ngx_add_timer(&exchange.timer, after);
}

void start_silence(Exchange& exchange) {
    ngx_msec_t keepalive = location_conf(exchange.request).keepalive;
    if (keepalive != 0 && (exchange.told || (exchange.events && exchange.length < 0))) {
        ngx_add_timer(&exchange.silence, keepalive);
    }
}

void restart_timer(Exchange& exchange) {
    if (exchange.due == Exchange::Due::parting) {
        return;
    }
    stop_timer(exchange);
    ngx_msec_t timeout = location_conf(exchange.request).timeout;
    // A client that does not read is send_timeout's business.
    if (timeout != 0 && exchange.end == End::open && !waits_for_client(exchange)) {
        start_timer(exchange, Exchange::Due::output, timeout);
    }
}

void detach(Exchange& exchange, ngx_int_t rc) {
    if (!std::exchange(exchange.attached, false)) {
        return;
    }
    stop_timer(exchange);
    stop_telling(exchange);
    exchange.call->consumer = nullptr;
    if (exchange.caching) {
        exchange.caching->step_aside();
    }
    if (!exchange.submitted) {
        exchange.call->finished();
    }
    Worker* worker = Worker::get();
    worker->pool().cancel(exchange.call);
    worker->let_go({.place = exchange.place,
                    .location = location_conf(exchange.request).number,
                    .failed = exchange.failed && !exchange.stopped,
                    .outcome = ended(exchange, rc),
                    .seconds = std::chrono::duration<double>(Clock::now() - exchange.begun).count()});
}

void finalize(Exchange& exchange, ngx_int_t rc) {
    detach(exchange, rc);
    ngx_http_finalize_request(exchange.request, rc);
}

void abort(Exchange& exchange) {
    exchange.request->keepalive = 0;
    exchange.failed = true;
    finalize(exchange, exchange.head_sent ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR);
}

bool waits_for_client(const Exchange& exchange) {
    const ngx_connection_t* connection = exchange.request->connection;
    constexpr unsigned unsent = NGX_LOWLEVEL_BUFFERED | NGX_HTTP_WRITE_BUFFERED;
    return exchange.busy != nullptr || (connection->data == exchange.request && (connection->buffered & unsent) != 0);
}

bool pass(Exchange& exchange, ngx_chain_t* out) {
    ngx_http_request_t* request = exchange.request;
    ngx_connection_t* connection = request->connection;
    if (out != nullptr || exchange.busy != nullptr || connection->buffered) {
        ngx_int_t rc = put_out(request, out);
        if (rc == NGX_ERROR) {
            finalize(exchange, NGX_ERROR);
            return false;
        }
        if (exchange.end == End::finished) {
            // What is left nginx sends by itself; the pieces live as long as the request.
            finalize(exchange, rc);
            return false;
        }
        std::size_t bytes = settle(exchange, out);
        if (exchange.told) {  // what went out is not what the call has sent
            bytes = exchange.busy == nullptr && exchange.submitted ? exchange.told->spent() : 0;
        }
        if (bytes > 0 && exchange.call->sent(bytes)) {
            Worker::get()->pool().resume(exchange.call);
        }
    }
    return exchange.end != End::aborted || waits_for_client(exchange) || abort_once_read(exchange);
}

}  // namespace owt
