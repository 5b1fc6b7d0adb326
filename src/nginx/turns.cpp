// The turns of the loop in which an exchange goes on: its call brings something, its client takes something, time is
// up.

#include "nginx/turns.hpp"

#include "call/trace.hpp"
#include "nginx/answer.hpp"
#include "nginx/conf.hpp"
#include "nginx/environ.hpp"
#include "nginx/passing.hpp"
#include "nginx/sending.hpp"
#include "nginx/telling.hpp"
#include "nginx/worker.hpp"

namespace owt {

namespace {

// Guarded, a turn of the loop that belongs to no request: nginx is told whose it is, and goes on with what it
// posted.
template <typename Work>
void in_turn(Exchange& exchange, Work work) noexcept {
    ngx_connection_t* connection = exchange.request->connection;
    ngx_http_set_log_request(connection->log, exchange.request);
    guarded(exchange, work);
    ngx_http_run_posted_requests(connection);
}

// False if the exchange is over.
bool tell_kept(Exchange& exchange) {
    auto batch = kept_batch(exchange);
    if (!batch) {
        refuse(exchange, {503, "result-forgotten", "The result was kept and has just been forgotten: ask again."});
        return false;
    }
    exchange.told->put(std::move(*batch), {});
    if (!tell_on(exchange)) {
        return false;
    }
    arm(exchange);
    return true;
}

// False if the exchange is over.
bool submit(Exchange& exchange) {
    Call::Asked& asked = exchange.call->asked;
    if (asked.environ.empty()) {
        asked.environ = environ_of(exchange.request, exchange.body_size);
    }
    auto problem = Worker::get()->submit(exchange.call, !std::exchange(exchange.counted, true));
    exchange.submitted = !problem;
    if (problem) {
        refuse(exchange, *problem);
    }
    return !problem;
}

// A Python thread has read the call's parameters, and they ask for the cache. False if the exchange is over.
bool look_now(Exchange& exchange) {
    Call::Asked& asked = exchange.call->asked;
    asked.parsed = true;
    asked.looks_later = false;
    exchange.submitted = false;
    return go(exchange, exchange.caching.emplace(exchange).look(exchange.request, asked));
}

// False if the exchange is over.
bool send_batch(Exchange& exchange, Batch& batch) {
    ngx_http_request_t* request = exchange.request;
    if (!exchange.told && exchange.call->asked.params.events) {
        exchange.told.emplace();  // a Python thread has read that
        start_silence(exchange);
    }
    if (batch.parked) {
        return look_now(exchange);
    }
    keep_to_length(exchange, batch);
    if (!exchange.caching && exchange.call->asked.params.use_cache && location_conf(request).zone == nullptr) {
        exchange.caching.emplace(exchange);  // there is no cache here, which the head says
    }
    if (exchange.caching) {
        exchange.caching->record(batch);
    }
    if (exchange.told) {
        return tell(exchange, batch);
    }
    if (batch.problem) {
        refuse(exchange, *batch.problem);
        return false;
    }
    if (batch.file) {
        ngx_int_t rc = send_file(exchange, batch);
        finalize(exchange, rc);
        return false;
    }
    exchange.end = batch.end;
    if (batch.end == End::aborted && !exchange.head_sent && batch.pieces.empty()) {
        refuse(exchange, {500, "adaptor-failed", "The adaptor's answer broke off before it began."});
        return false;
    }
    if (batch.head) {
        ngx_int_t rc = send_head(exchange, batch);
        if (!may_send_body(request, rc)) {
            finalize(exchange, rc);
            return false;
        }
    }
    if (exchange.events && !batch.pieces.empty()) {
        exchange.line_ended = batch.pieces.back().bytes.ends_with('\n');
    }
    ngx_chain_t* out = nullptr;
    if (!make_chain(exchange, batch, out)) {
        finalize(exchange, NGX_ERROR);
        return false;
    }
    return pass(exchange, out);
}

void go_on(Exchange& exchange) {
    ngx_connection_t* connection = exchange.request->connection;
    if (connection->error) {  // HTTP/2 tells a reset stream so
        finalize(exchange, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }
    if (connection->write->timedout) {
        ngx_log_error(NGX_LOG_INFO, connection->log, NGX_ETIMEDOUT, "client timed out");
        connection->timedout = 1;
        finalize(exchange, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }
    if (!pass(exchange, nullptr) || (exchange.told && !tell_on(exchange))) {
        return;
    }
    Batch batch;
    if (exchange.busy == nullptr && exchange.call->take(batch) && !send_batch(exchange, batch)) {
        return;
    }
    // It has taken something: its time begins anew.
    if (connection->write->timer_set && !connection->write->delayed) {
        ngx_del_timer(connection->write);
    }
    arm(exchange);
}

void on_writable(ngx_http_request_t* request) noexcept {
    Exchange* exchange = exchange_of(request);
    if (exchange != nullptr && exchange->attached) {
        guarded(*exchange, [&] { go_on(*exchange); });
    }
}

// The call is over for the client, whatever it still does.
void break_off(Exchange& exchange, const Problem& problem) {
    Worker::get()->pool().cancel(exchange.call);  // before anybody hears of it
    if (!exchange.told && !exchange.head_sent) {
        refuse(exchange, problem);
        return;
    }
    if (exchange.told) {
        tell_failure(exchange, problem);
    } else {
        exchange.end = End::aborted;
    }
    if (exchange.told ? tell_on(exchange) : pass(exchange, nullptr)) {
        arm(exchange);
    }
}

void give_up(Exchange& exchange) {
    bool loading = exchange.call->loading();
    ngx_log_error(NGX_LOG_ERR, exchange.request->connection->log, 0,
                  "owt: the call gave no output within owt_timeout, it is cancelled%s%s",
                  loading ? " when its endpoint has been loaded" : "",
                  trace_note(exchange.call->asked.environ).c_str());
    break_off(exchange, {504, "timeout",
                         loading ? "The endpoint was not loaded within this server's owt_timeout. Loading goes on: ask "
                                   "again in a while, and it is there."
                                 : "The call gave no output within this server's owt_timeout and has been cancelled. "
                                   "Send less work at once, yield results as they come, or raise owt_timeout."});
}

void on_timeout(ngx_event_t* event) noexcept {
    auto& exchange = *static_cast<Exchange*>(event->data);
    in_turn(exchange, [&] {
        switch (exchange.due) {
            case Exchange::Due::patience:
                // Whose turn has come in this moment hears of it by resume().
                if (exchange.caching->give_up_waiting()) {
                    go(exchange, Caching::Step::run);
                }
                break;
            case Exchange::Due::output:
                give_up(exchange);
                break;
            case Exchange::Due::parting:
                abort(exchange);
                break;
        }
    });
}

// More than one turn's share is to be told, or the progress that has been made meanwhile.
void on_later(ngx_event_t* event) noexcept {
    auto& exchange = *static_cast<Exchange*>(event->data);
    bool due = event->timedout;
    event->timedout = 0;
    in_turn(exchange, [&] {
        if (due) {
            exchange.awaits_progress = false;
            if (auto progress = due_progress(exchange, false)) {
                exchange.told->progress(*progress);
            }
        }
        if (exchange.told->waiting() && tell_on(exchange)) {
            arm(exchange);
        }
    });
}

void break_silence(Exchange& exchange) {
    start_silence(exchange);
    if (waits_for_client(exchange) || !exchange.line_ended) {
        return;
    }
    if (exchange.told) {
        Batch batch;
        if (exchange.call->flush() && exchange.call->take(batch)) {
            if (send_batch(exchange, batch)) {
                arm(exchange);
            }
            return;
        }
        if (!exchange.head_sent) {
            ngx_int_t rc = send_head_of_events(exchange);
            if (!may_send_body(exchange.request, rc)) {
                finalize(exchange, rc);
                return;
            }
        }
    }
    Batch comment;
    comment.pieces.push_back(Piece::of(": keep-alive\n\n"));
    if (!exchange.told) {
        exchange.call->sends(comment.pieces.front().bytes.size());
    }
    ngx_chain_t* out = nullptr;
    if (!make_chain(exchange, comment, out)) {
        finalize(exchange, NGX_ERROR);
    } else if (pass(exchange, out)) {
        arm(exchange, false);
    }
}

void on_silence(ngx_event_t* event) noexcept {
    auto& exchange = *static_cast<Exchange*>(event->data);
    in_turn(exchange, [&] { break_silence(exchange); });
}

}  // namespace

bool go(Exchange& exchange, Caching::Step step) {
    switch (step) {
        case Caching::Step::wait:
            start_timer(exchange, Exchange::Due::patience, Caching::patience * 1000);
            return true;
        case Caching::Step::run:
            restart_timer(exchange);
            return submit(exchange);
        default:
            exchange.call->finished();
            if (exchange.told) {
                return tell_kept(exchange);
            }
            ngx_int_t rc = send_kept(exchange.request, *exchange.caching);
            finalize(exchange, rc);
            return false;
    }
}

void arm(Exchange& exchange, bool output) {
    ngx_http_request_t* request = exchange.request;
    ngx_connection_t* connection = request->connection;
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(request, ngx_http_core_module));
    request->write_event_handler = on_writable;
    if (connection->data == request && ngx_handle_write_event(connection->write, core->send_lowat) != NGX_OK) {
        finalize(exchange, NGX_ERROR);
        return;
    }
    bool slow = waits_for_client(exchange);
    if (!connection->write->delayed) {
        if (slow && connection->write->active && !connection->write->ready) {
            if (!connection->write->timer_set) {
                ngx_add_timer(connection->write, core->send_timeout);
            }
        } else if (connection->write->timer_set) {
            ngx_del_timer(connection->write);
        }
    }
    if (slow && exchange.caching) {
        exchange.caching->step_aside();  // a slow client holds up nobody else
    }
    if (output) {
        restart_timer(exchange);
        start_silence(exchange);
    }
}

bool attach(Exchange& exchange) {
    ngx_http_request_t* request = exchange.request;
    ngx_http_cleanup_t* cleanup = ngx_http_cleanup_add(request, 0);
    if (cleanup == nullptr) {
        return false;
    }
    cleanup->data = &exchange;
    cleanup->handler = [](void* data) noexcept {
        detach(*static_cast<Exchange*>(data), NGX_HTTP_CLIENT_CLOSED_REQUEST);
    };
    exchange.timer.handler = on_timeout;
    exchange.later.handler = on_later;
    exchange.silence.handler = on_silence;
    for (ngx_event_t* event : {&exchange.timer, &exchange.later, &exchange.silence}) {
        event->data = &exchange;
        event->log = request->connection->log;
    }
    exchange.call->consumer = &exchange;
    exchange.attached = true;
    exchange.begun = Clock::now();
    exchange.place = Worker::get()->hold(*exchange.call, location_conf(request).number, exchange.begun);
    return true;
}

void Exchange::advance() noexcept {
    if (busy != nullptr) {
        return;  // the client is slow: on_writable() goes on
    }
    in_turn(*this, [this] {
        Batch batch;
        if (call->take(batch) && send_batch(*this, batch)) {
            arm(*this);
        }
    });
}

void Exchange::resume(KeptPtr kept) noexcept {
    in_turn(*this, [&] { go(*this, caching->resume(request, std::move(kept))); });
}

void Exchange::stop() noexcept {
    in_turn(*this, [&] {
        ngx_log_error(NGX_LOG_NOTICE, request->connection->log, 0,
                      "owt: the call is stopped, as its server's status was told%s",
                      trace_note(call->asked.environ).c_str());
        stopped = true;
        break_off(*this, {500, "stopped", "The call was stopped by whoever looks after this server."});
    });
}

}  // namespace owt
