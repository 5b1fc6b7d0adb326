// One request's life on the event loop: its body is read, its parameters make a call, the call goes to the pool; what
// the call's outbox holds is sent as it comes, until the end or until either side has had enough.

#include "nginx/handler.hpp"

#include "call/hooks.hpp"
#include "call/params.hpp"
#include "call/trace.hpp"
#include "nginx/access.hpp"
#include "nginx/aim.hpp"
#include "nginx/answer.hpp"
#include "nginx/asked.hpp"
#include "nginx/cache.hpp"
#include "nginx/conf.hpp"
#include "nginx/console.hpp"
#include "nginx/environ.hpp"
#include "nginx/exchange.hpp"
#include "nginx/late_body.hpp"
#include "nginx/sending.hpp"
#include "nginx/state.hpp"
#include "nginx/worker.hpp"

namespace owt {

namespace {

constexpr ngx_msec_t time_to_read = 1000;
constexpr ngx_msec_t between_progress = 100;
constexpr int most_slices = 16;  // of events, until others have their turn

Exchange* exchange_of(ngx_http_request_t* request) {
    RequestState* state = find_state(request);
    return state != nullptr ? static_cast<Exchange*>(state->exchange) : nullptr;
}

// --- The end of an exchange. finalize() may free the request's pool and the exchange with it: touch neither after.

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

// A stream of events that is silent for too long gets a comment: proxies and clients give up what seems to be dead.
void start_silence(Exchange& exchange) {
    ngx_msec_t keepalive = location_conf(exchange.request).keepalive;
    if (keepalive != 0 && (exchange.told || (exchange.events && exchange.length < 0))) {
        ngx_add_timer(&exchange.silence, keepalive);
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

// From here on neither side knows the other; a call that still runs is cancelled.
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

bool tell_on(Exchange& exchange, bool all = false);

void tell_failure(Exchange& exchange, const Problem& problem) {
    exchange.failed = problem.status >= 500;
    exchange.told_status = static_cast<unsigned>(problem.status);
    exchange.told->failed(problem);
}

void refuse(Exchange& exchange, const Problem& problem) {
    if (exchange.told && exchange.head_sent) {
        tell_failure(exchange, problem);
        tell_on(exchange, true);
        return;
    }
    exchange.failed = problem.status >= 500;
    ngx_int_t rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (set_report(exchange)) {
        rc = send_problem(exchange.request, problem);
    }
    finalize(exchange, rc);
}

// The client must see that the answer is not complete.
void abort(Exchange& exchange) {
    exchange.request->keepalive = 0;
    exchange.failed = true;
    finalize(exchange, exchange.head_sent ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR);
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

// Nothing may be thrown into nginx: what is, ends the exchange.
template <typename Work>
void guarded(Exchange& exchange, Work work) noexcept {
    ngx_log_t* log = exchange.request->connection->log;
    try {
        work();
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "owt: %s", error.what());
        finalize(exchange, NGX_ERROR);
    }
}

// The same for a turn of the loop that belongs to no request: nginx is told whose it is, and goes on with what it
// posted.
template <typename Work>
void in_turn(Exchange& exchange, Work work) noexcept {
    ngx_connection_t* connection = exchange.request->connection;
    ngx_http_set_log_request(connection->log, exchange.request);
    guarded(exchange, work);
    ngx_http_run_posted_requests(connection);
}

// The client has yet to take what was sent: pieces of ours, or what filters (gzip) and nginx have made of them.
bool waits_for_client(const Exchange& exchange) {
    const ngx_connection_t* connection = exchange.request->connection;
    constexpr unsigned unsent = NGX_LOWLEVEL_BUFFERED | NGX_HTTP_WRITE_BUFFERED;
    return exchange.busy != nullptr || (connection->data == exchange.request && (connection->buffered & unsent) != 0);
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

// Passes on what there is and says what became of it. False if the exchange is over.
bool pass(Exchange& exchange, ngx_chain_t* out) {
    ngx_http_request_t* request = exchange.request;
    ngx_connection_t* connection = request->connection;
    if (out != nullptr || exchange.busy != nullptr || connection->buffered) {
        ngx_int_t rc = ngx_http_output_filter(request, out);
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

// --- A call of which is told what becomes of it, as the client has asked for.

// Passes on as much as the client takes, or all. False if the exchange is over.
bool tell_on(Exchange& exchange, bool all) {
    Events& told = *exchange.told;
    if (told.waiting() && !exchange.head_sent) {
        ngx_int_t rc = send_head_of_events(exchange);
        if (!may_send_body(exchange.request, rc)) {
            finalize(exchange, rc);
            return false;
        }
    }
    for (int slices = 0; told.waiting() && (all || !waits_for_client(exchange)); ++slices) {
        if (slices == most_slices && !all) {
            ngx_post_event(&exchange.later, &ngx_posted_next_events);
            break;
        }
        Batch batch;
        batch.pieces.push_back(Piece::of(told.next()));
        if (told.over()) {
            batch.end = exchange.end = End::finished;
        } else if (batch.pieces.front().bytes.empty()) {
            continue;
        }
        ngx_chain_t* out = nullptr;
        if (!make_chain(exchange, batch, out)) {
            finalize(exchange, NGX_ERROR);
            return false;
        }
        if (!pass(exchange, out)) {
            return false;
        }
    }
    return true;
}

// The last word on how far it is, if it is due: after that nothing more of it for a while, but at the end.
std::optional<std::string> due_progress(Exchange& exchange, bool at_end) {
    if (exchange.awaits_progress && !at_end) {
        return std::nullopt;
    }
    auto progress = exchange.call->take_progress();
    exchange.awaits_progress = progress.has_value();
    if (progress && !at_end) {
        ngx_add_timer(&exchange.later, between_progress);
    }
    return progress;
}

// Until something has been told a refusal is an answer like any other. A call that ran and failed is told.
bool is_told(const Exchange& exchange, const Batch& batch) {
    const Problem& problem = *batch.problem;
    return exchange.head_sent || batch.said != nullptr || problem.status == 500 || problem.status == 504;
}

// False if the exchange is over.
bool tell(Exchange& exchange, Batch& batch) {
    if (batch.problem && !is_told(exchange, batch)) {
        refuse(exchange, *batch.problem);
        return false;
    }
    if (batch.file && !type_file(exchange, batch)) {
        finalize(exchange, NGX_ERROR);
        return false;
    }
    bool at_end = batch.end != End::open;
    if (at_end) {
        exchange.failed = batch.end == End::aborted || (batch.problem && batch.problem->status >= 500);
        int status = batch.problem ? batch.problem->status : exchange.failed ? 500 : 0;
        exchange.told_status = static_cast<unsigned>(status);
    }
    auto progress = due_progress(exchange, at_end);
    exchange.told->put(std::move(batch), exchange.call->timing(true), progress);
    return tell_on(exchange);
}

void arm(Exchange& exchange, bool output = true);

// The call is over for the client, whatever it still does.
void break_off(Exchange& exchange, const Problem& problem) {
    if (!exchange.told && !exchange.head_sent) {
        refuse(exchange, problem);
        return;
    }
    Worker::get()->pool().cancel(exchange.call);
    if (exchange.told) {
        tell_failure(exchange, problem);
    } else {
        exchange.end = End::aborted;
    }
    if (exchange.told ? tell_on(exchange) : pass(exchange, nullptr)) {
        arm(exchange);
    }
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

// False if the exchange is over.
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

// After anything that was sent: who is to wake the exchange next, and by when.
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

// --- Nothing has come in time.

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

// --- The request becomes a call.

// A client that leaves after its request has been read is seen only by who looks.
void watch_client(ngx_http_request_t* request) {
    request->read_event_handler = ngx_http_test_reading;
    request->write_event_handler = ngx_http_request_empty_handler;
    ngx_connection_t* connection = request->connection;
    if (connection->read->ready && request == request->main) {
        ngx_post_event(connection->read, &ngx_posted_events);
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

void begin(ngx_http_request_t* request) {
    const LocationConf& conf = location_conf(request);
    Worker* worker = Worker::get();
    Exchange* exchange = exchange_of(request);
    // Not in one block with its count, which whoever watches a cancelled call keeps for `grace`.
    exchange->call = std::make_unique<Call>(worker->doorbell(), conf.stream_buffer);
    Call::Asked& asked = exchange->call->asked;
    asked.connection = request->connection->number;
    asked.show_traceback = shows_traceback(conf);
    hook("asked");
    if (exchange->body_begun && request == request->main && !body_is_whole(request)) {
        refuse(*exchange, {500, "body-passed-on",
                           "The request's body is not here: a proxy has passed on what came of it before this location "
                           "stood in. The server's proxy_request_buffering has to be on where that may happen."});
        return;
    }
    auto size = take_body(request, asked);
    if (!size) {
        ngx_err_t error = ngx_errno;
        ngx_log_error(NGX_LOG_ERR, request->connection->log, error, "owt: sharing the request body's file failed");
        if (error == NGX_EMFILE || error == NGX_ENFILE) {
            refuse(*exchange, {503, "no-descriptors",
                               "The server's process has no descriptor left for this request's body: try again, or "
                               "raise worker_rlimit_nofile in nginx's configuration."});
        } else {
            finalize(*exchange, NGX_HTTP_INTERNAL_SERVER_ERROR);
        }
        return;
    }
    if (!exchange->body_begun && !share_body(request, asked)) {
        finalize(*exchange, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    if (auto problem = conf.published != nullptr ? aim_call(request, asked) : std::nullopt) {
        refuse(*exchange, *problem);
        return;
    }
    asked.params.events = prefers_events(request);
    if (auto problem = read_params(request, asked)) {
        refuse(*exchange, *problem);
        return;
    }
    exchange->body_size = *size;
    asked.looks_later =
        conf.zone != nullptr && (conf.published == nullptr || asked.params.use_cache) && !complete_key(asked);
    auto step = Caching::Step::run;
    if (asked.params.use_cache && !asked.looks_later) {
        step = exchange->caching.emplace(*exchange).look(request, asked);
    }
    if (asked.parsed && asked.params.events) {
        if (!find_header(request->headers_in.headers, "Last-Event-ID").empty()) {
            finalize(*exchange, NGX_HTTP_NO_CONTENT);
            return;
        }
        exchange->told.emplace();
    }
    // What is answered at once needs nobody to watch over it.
    if ((step != Caching::Step::answer || exchange->told) && !attach(*exchange)) {
        finalize(*exchange, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    if (!go(*exchange, step)) {
        return;
    }
    watch_client(request);
    if (exchange->told) {
        arm(*exchange);
    }
}

void go_on_reading(ngx_http_request_t* request) noexcept {
    Exchange& exchange = *exchange_of(request);
    ngx_int_t rc = read_late_body(request);
    if (rc == NGX_OK) {
        guarded(exchange, [&] { begin(request); });
    } else if (rc != NGX_AGAIN) {
        finalize(exchange, rc);
    }
}

void body_is_read(ngx_http_request_t* request) noexcept {
    if (request->reading_body) {
        request->read_event_handler = go_on_reading;
        request->write_event_handler = ngx_http_request_empty_handler;
        go_on_reading(request);
        return;
    }
    guarded(*exchange_of(request), [&] { begin(request); });
}

}  // namespace

ngx_int_t handle(ngx_http_request_t* request) noexcept {
    try {
        if (location_conf(request).owt == nullptr) {
            return NGX_HTTP_FORBIDDEN;  // a configuration that has not been judged as one with owt
        }
        ngx_int_t rc = judge(request);
        if (rc != NGX_DECLINED) {
            return rc;
        }
        if (wants_console(request)) {
            return send_console(request);
        }
        if (Worker::get() == nullptr) {
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }
        if (!(request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD | NGX_HTTP_POST))) {
            rc = ngx_http_discard_request_body(request);
            if (rc != NGX_OK) {
                return rc;
            }
            return send_problem(request, {405, "", "Use GET, HEAD or POST."});
        }
        if (auto problem = location_conf(request).published != nullptr ? check_aim(request) : std::nullopt) {
            rc = ngx_http_discard_request_body(request);
            return rc == NGX_OK ? send_problem(request, *problem) : rc;
        }
        auto* exchange = make_in_pool<Exchange>(request->pool, request);
        if (exchange == nullptr) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        find_state(request)->exchange = exchange;
        exchange->body_begun = request->request_body != nullptr;
        request->request_body_in_single_buf = 1;
        rc = ngx_http_read_client_request_body(request, body_is_read);
        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, 0, "owt: %s", error.what());
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
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

std::optional<std::string> cache_status_of(ngx_http_request_t* request) {
    Exchange* exchange = exchange_of(request);
    if (exchange == nullptr || !exchange->caching) {
        return std::nullopt;
    }
    return std::string(exchange->caching->state());
}

const Call* call_of(ngx_http_request_t* request) {
    Exchange* exchange = exchange_of(request);
    return exchange != nullptr ? exchange->call.get() : nullptr;
}

}  // namespace owt
