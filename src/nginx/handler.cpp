// One request's life on the event loop: its body is read, its parameters make a call, the call goes to the pool; what
// the call's outbox holds is sent as it comes, until the end or until either side has had enough.

#include "nginx/handler.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "call/hooks.hpp"
#include "call/params.hpp"
#include "call/text.hpp"
#include "nginx/access.hpp"
#include "nginx/answer.hpp"
#include "nginx/asked.hpp"
#include "nginx/cache.hpp"
#include "nginx/module.hpp"
#include "nginx/worker.hpp"

namespace owt {

// A request that waits for a call. Lives in the request's pool; the call may outlive it.
struct Exchange {
    explicit Exchange(ngx_http_request_t* request) : request(request) {}

    ngx_http_request_t* request;
    CallPtr call;
    std::size_t body_size = 0;
    std::optional<Caching> caching;  // if its result is to be kept
    bool submitted = false;
    bool counted = false;   // for max_calls
    bool attached = false;  // the worker is held for it, the call knows it
    bool head_sent = false;
    ngx_event_t timer{};
    // What nginx has still to send from, oldest first, and the buffers that point there.
    std::vector<Piece> unsent;
    ngx_chain_t* busy = nullptr;
    ngx_chain_t* free = nullptr;
    End end = End::open;
    off_t length = -1;   // as the adaptor has declared it; negative if it has not
    off_t missing = -1;  // of that
};

namespace {

Exchange* exchange_of(ngx_http_request_t* request) {
    RequestState* state = find_state(request);
    return state != nullptr ? state->exchange : nullptr;
}

// --- Heads.

// Server-Timing, and what the cache has to say. False if memory is short.
bool set_report(Exchange& exchange) {
    Timing timing = exchange.call->timing();
    std::array<char, 128> text;
    int n = std::snprintf(text.data(), text.size(), "queue;dur=%.3f, load;dur=%.3f, run;dur=%.3f", timing.queue * 1e3,
                          timing.load * 1e3, timing.run * 1e3);
    return add_header(exchange.request, "Server-Timing", {text.data(), static_cast<std::size_t>(n)}) != nullptr &&
           (!exchange.caching || exchange.caching->report(exchange.request));
}

// A stream whose adaptor knows its length; -1 if it does not.
off_t declared_length(const Head& head) {
    for (const Header& header : head.headers) {
        if (same(header.name, "Content-Length")) {
            return ngx_atoof(reinterpret_cast<u_char*>(const_cast<char*>(header.value.data())), header.value.size());
        }
    }
    return -1;
}

// --- The end of an exchange. finalize() may free the request's pool and the exchange with it: touch neither after.

void stop_timer(Exchange& exchange) {
    if (exchange.timer.timer_set) {
        ngx_del_timer(&exchange.timer);
    }
}

// From here on neither side knows the other; a call that still runs is cancelled.
void detach(Exchange& exchange) {
    if (!std::exchange(exchange.attached, false)) {
        return;
    }
    stop_timer(exchange);
    exchange.call->exchange = nullptr;
    if (exchange.caching) {
        exchange.caching->step_aside();
    }
    if (!exchange.submitted) {
        exchange.call->finished();
    }
    Worker* worker = Worker::get();
    worker->pool().cancel(exchange.call);
    worker->let_go();
}

void finalize(Exchange& exchange, ngx_int_t rc) {
    detach(exchange);
    ngx_http_finalize_request(exchange.request, rc);
}

void refuse(Exchange& exchange, const Problem& problem) {
    ngx_int_t rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (set_report(exchange)) {
        rc = send_problem(exchange.request, problem);
    }
    finalize(exchange, rc);
}

// The client must see that the answer is not complete.
void abort(Exchange& exchange) {
    exchange.request->keepalive = 0;
    finalize(exchange, exchange.head_sent ? NGX_ERROR : NGX_HTTP_INTERNAL_SERVER_ERROR);
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

void give_up(Exchange& exchange) {
    ngx_log_error(NGX_LOG_ERR, exchange.request->connection->log, 0,
                  "owt: the call gave no output within owt_timeout, it is cancelled");
    if (exchange.head_sent) {
        abort(exchange);
    } else {
        refuse(exchange, {504, "timeout",
                          "The call gave no output within this server's owt_timeout and has been cancelled. "
                          "Send less work at once, yield results as they come, or raise owt_timeout."});
    }
}

bool go(Exchange& exchange, Caching::Step step);

void on_timeout(ngx_event_t* event) noexcept {
    auto& exchange = *static_cast<Exchange*>(event->data);
    ngx_connection_t* connection = exchange.request->connection;
    ngx_http_set_log_request(connection->log, exchange.request);
    guarded(exchange, [&] {
        if (exchange.caching && exchange.caching->give_up_waiting()) {
            go(exchange, Caching::Step::run);
        } else {
            give_up(exchange);
        }
    });
    ngx_http_run_posted_requests(connection);
}

void restart_timer(Exchange& exchange) {
    ngx_msec_t timeout = location_conf(exchange.request).timeout;
    if (timeout == 0) {
        return;
    }
    // ngx_add_timer() by itself leaves a timer that has less than 0.3 s to gain as it is.
    stop_timer(exchange);
    // A client that does not read is send_timeout's business.
    if (exchange.busy == nullptr) {
        ngx_add_timer(&exchange.timer, timeout);
    }
}

// --- Sending.

// False if memory is short.
bool set_head(Exchange& exchange, const Head& head) {
    ngx_http_request_t* request = exchange.request;
    request->headers_out.status = static_cast<ngx_uint_t>(head.status);
    return std::ranges::all_of(head.headers,
                               [&](const Header& header) { return set_header(request, header.name, header.value); }) &&
           set_report(exchange);
}

ngx_int_t send_head(Exchange& exchange, const Batch& batch) {
    ngx_http_request_t* request = exchange.request;
    auto& out = request->headers_out;
    if (!set_head(exchange, *batch.head)) {
        return NGX_ERROR;
    }
    if (batch.whole) {
        out.content_length_n = 0;
        for (const Piece& piece : batch.pieces) {
            out.content_length_n += static_cast<off_t>(piece.bytes.size());
        }
    } else {
        out.content_length_n = exchange.length;
        // A proxy in front would gather the chunks.
        if (add_header(request, "X-Accel-Buffering", "no") == nullptr) {
            return NGX_ERROR;
        }
    }
    exchange.head_sent = true;
    return ngx_http_send_header(request);
}

ngx_int_t send_file(Exchange& exchange, Batch& batch) {
    ngx_http_request_t* request = exchange.request;
    struct stat status {};
    int fd = batch.file->fd.get();
    auto* buffer = static_cast<ngx_buf_t*>(ngx_calloc_buf(request->pool));
    auto* file = static_cast<ngx_file_t*>(ngx_pcalloc(request->pool, sizeof(ngx_file_t)));
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(request->pool, sizeof(ngx_pool_cleanup_file_t));
    if (::fstat(fd, &status) != 0 || buffer == nullptr || file == nullptr || cleanup == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    file->fd = batch.file->fd.release();
    file->name = to_ngx_str(request->pool, batch.file->name);
    file->log = request->connection->log;
    auto* closing = static_cast<ngx_pool_cleanup_file_t*>(cleanup->data);
    closing->fd = file->fd;
    closing->name = file->name.data;
    closing->log = request->pool->log;
    cleanup->handler = ngx_pool_cleanup_file;

    auto& out = request->headers_out;
    out.content_length_n = status.st_size;
    out.last_modified_time = status.st_mtime;
    if (!set_head(exchange, *batch.head)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (out.content_type.len == 0) {
        std::string_view name = to_view(file->name);
        std::size_t dot = name.rfind('.');
        std::string_view extension = dot == std::string_view::npos ? "" : name.substr(dot + 1);
        request->exten = to_ngx_str(request->pool, extension);
        if (ngx_http_set_content_type(request) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    if (out.etag == nullptr && ngx_http_set_etag(request) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    request->allow_ranges = 1;
    exchange.head_sent = true;
    ngx_int_t rc = ngx_http_send_header(request);
    if (!may_send_body(request, rc)) {
        return rc;
    }
    buffer->file = file;
    buffer->file_last = status.st_size;
    buffer->in_file = status.st_size > 0;
    buffer->last_buf = request == request->main;
    buffer->last_in_chain = 1;
    buffer->sync = status.st_size == 0 && request != request->main;
    ngx_chain_t chain{buffer, nullptr};
    return ngx_http_output_filter(request, &chain);
}

ngx_buf_tag_t tag() {
    return reinterpret_cast<ngx_buf_tag_t>(&ngx_http_owt_module);
}

ngx_buf_t* append_buffer(Exchange& exchange, ngx_chain_t**& last) {
    ngx_chain_t* link = ngx_chain_get_free_buf(exchange.request->pool, &exchange.free);
    if (link == nullptr) {
        return nullptr;
    }
    ngx_memzero(link->buf, sizeof(ngx_buf_t));
    link->buf->tag = tag();
    link->next = nullptr;
    *last = link;
    last = &link->next;
    return link->buf;
}

// What is shorter than the length that it declares must not be taken for complete; what is longer, for the beginning of
// the connection's next answer.
void keep_to_length(Exchange& exchange, Batch& batch) {
    if (batch.head && !batch.whole) {
        exchange.length = exchange.missing = declared_length(*batch.head);
    }
    if (exchange.missing < 0) {
        return;
    }
    bool too_long = false;
    for (Piece& piece : batch.pieces) {
        auto size = static_cast<off_t>(piece.bytes.size());
        too_long = too_long || size > exchange.missing;
        piece.bytes = piece.bytes.substr(0, static_cast<std::size_t>(exchange.missing));
        exchange.missing -= static_cast<off_t>(piece.bytes.size());
    }
    std::erase_if(batch.pieces, [](const Piece& piece) { return piece.bytes.empty(); });
    bool too_short = !too_long && batch.end == End::finished && exchange.missing > 0;
    if (too_long || too_short) {
        ngx_log_error(NGX_LOG_ERR, exchange.request->connection->log, 0,
                      "owt: the stream is %s than the Content-Length that its adaptor has set",
                      too_long ? "longer" : "shorter");
        batch.end = too_long ? End::finished : End::aborted;
        if (exchange.caching) {
            exchange.caching->spoil();
        }
    }
}

// The pieces of a batch as nginx's buffers; sets out. False if memory is short.
bool make_chain(Exchange& exchange, Batch& batch, ngx_chain_t*& out) {
    ngx_chain_t** last = &out;
    ngx_buf_t* buffer = nullptr;
    for (Piece& piece : batch.pieces) {
        buffer = append_buffer(exchange, last);
        if (buffer == nullptr) {
            return false;
        }
        auto* bytes = reinterpret_cast<u_char*>(const_cast<char*>(piece.bytes.data()));
        buffer->pos = buffer->start = bytes;
        buffer->last = buffer->end = bytes + piece.bytes.size();
        buffer->memory = 1;
        buffer->flush = 1;
        exchange.unsent.push_back(std::move(piece));
    }
    if (batch.end == End::finished) {
        if (buffer == nullptr) {
            buffer = append_buffer(exchange, last);
            if (buffer == nullptr) {
                return false;
            }
            exchange.unsent.emplace_back();
        }
        if (exchange.request == exchange.request->main) {
            buffer->last_buf = 1;
        } else {
            buffer->sync = buffer->pos == buffer->last;
        }
        buffer->last_in_chain = 1;
    }
    return true;
}

// Lets go of the pieces that nginx is done with, and of a writer that waited for it.
void settle(Exchange& exchange, ngx_chain_t* out) {
    ngx_chain_update_chains(exchange.request->pool, &exchange.free, &exchange.busy, &out, tag());
    std::size_t left = 0;
    for (ngx_chain_t* link = exchange.busy; link != nullptr; link = link->next) {
        ++left;
    }
    std::size_t done = exchange.unsent.size() - left;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < done; i++) {
        bytes += exchange.unsent[i].bytes.size();
    }
    exchange.unsent.erase(exchange.unsent.begin(), exchange.unsent.begin() + static_cast<std::ptrdiff_t>(done));
    if (bytes > 0 && exchange.call->sent(bytes)) {
        Worker::get()->pool().resume(exchange.call);
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
        settle(exchange, out);
    }
    if (exchange.end == End::aborted && exchange.busy == nullptr) {
        abort(exchange);
        return false;
    }
    return true;
}

// A result that was kept, or that another call has just brought.
ngx_int_t send_kept(ngx_http_request_t* request, Caching& caching) {
    const Zone::Result& result = caching.result();
    auto& out = request->headers_out;
    out.status = static_cast<ngx_uint_t>(status_in(result.head));
    out.content_length_n = static_cast<off_t>(result.body_size);
    bool set = caching.report(request);
    each_header_in(result.head, [&](std::string_view name, std::string_view value) {
        set = set && set_header(request, name, value);
    });
    if (result.limited) {
        set = set && add_header(request, "Age", std::to_string(ngx_time() - result.kept_at)) != nullptr;
    }
    if (!set) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    request->allow_ranges = request->method != NGX_HTTP_POST;
    ngx_int_t rc = ngx_http_send_header(request);
    if (!may_send_body(request, rc)) {
        return rc;
    }
    auto body = caching.body(request);
    if (!body) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, 0, "owt: the result has been forgotten meanwhile");
        return NGX_ERROR;
    }
    return send_body(request, *body);
}

// False if the exchange is over.
bool submit(Exchange& exchange) {
    Call::Asked& asked = exchange.call->asked;
    if (asked.environ.empty()) {
        asked.environ = environ_of(exchange.request, exchange.body_size);
    }
    exchange.submitted = Worker::get()->submit(exchange.call, !std::exchange(exchange.counted, true));
    if (!exchange.submitted) {
        refuse(exchange, {503, "queue-full",
                          "All threads are busy and the queue is full: try again in a second. "
                          "The server's owt_instance sets threads and queue."});
    }
    return exchange.submitted;
}

// False if the exchange is over.
bool go(Exchange& exchange, Caching::Step step) {
    switch (step) {
        case Caching::Step::wait:
            ngx_add_timer(&exchange.timer, Caching::patience * 1000);
            return true;
        case Caching::Step::run:
            stop_timer(exchange);  // of waiting
            restart_timer(exchange);
            return submit(exchange);
        default:
            exchange.call->finished();
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
    ngx_chain_t* out = nullptr;
    if (!make_chain(exchange, batch, out)) {
        finalize(exchange, NGX_ERROR);
        return false;
    }
    return pass(exchange, out);
}

void arm(Exchange& exchange);

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
    if (!pass(exchange, nullptr)) {
        return;
    }
    Batch batch;
    if (exchange.busy == nullptr && exchange.call->take(batch) && !send_batch(exchange, batch)) {
        return;
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
void arm(Exchange& exchange) {
    ngx_http_request_t* request = exchange.request;
    ngx_connection_t* connection = request->connection;
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(request, ngx_http_core_module));
    request->write_event_handler = on_writable;
    if (connection->data == request && ngx_handle_write_event(connection->write, core->send_lowat) != NGX_OK) {
        finalize(exchange, NGX_ERROR);
        return;
    }
    if (!connection->write->delayed) {
        if (exchange.busy != nullptr && connection->write->active && !connection->write->ready) {
            ngx_add_timer(connection->write, core->send_timeout);
        } else if (connection->write->timer_set) {
            ngx_del_timer(connection->write);
        }
    }
    if (exchange.busy != nullptr && exchange.caching) {
        exchange.caching->step_aside();  // a slow client holds up nobody else
    }
    restart_timer(exchange);
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
    cleanup->handler = [](void* data) noexcept { detach(*static_cast<Exchange*>(data)); };
    exchange.timer.data = &exchange;
    exchange.timer.handler = on_timeout;
    exchange.timer.log = request->connection->log;
    exchange.call->exchange = &exchange;
    exchange.attached = true;
    Worker::get()->hold();
    return true;
}

void begin(ngx_http_request_t* request) {
    const LocationConf& conf = location_conf(request);
    Worker* worker = Worker::get();
    Exchange* exchange = exchange_of(request);
    exchange->call = std::make_shared<Call>(worker->doorbell(), conf.stream_buffer);
    Call::Asked& asked = exchange->call->asked;
    asked.connection = request->connection->number;
    asked.show_traceback = conf.traceback;
    auto size = take_body(request, asked);
    if (!size) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, ngx_errno, "owt: sharing the request body's file failed");
        finalize(*exchange, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    if (auto complaint = read_params(request, asked)) {
        refuse(*exchange, {400, asked.place == Place::nowhere ? "no-code" : "bad-parameters", *complaint});
        return;
    }
    exchange->body_size = *size;
    asked.looks_later = conf.zone != nullptr && !complete_key(asked);
    auto step = Caching::Step::run;
    if (asked.params.use_cache && !asked.looks_later) {
        step = exchange->caching.emplace(*exchange).look(request, asked);
    }
    // What is answered at once needs nobody to watch over it.
    if (step != Caching::Step::answer && !attach(*exchange)) {
        finalize(*exchange, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    if (!go(*exchange, step)) {
        return;
    }
    watch_client(request);
}

void body_is_read(ngx_http_request_t* request) noexcept {
    guarded(*exchange_of(request), [&] { begin(request); });
}

}  // namespace

ngx_int_t handle(ngx_http_request_t* request) noexcept {
    try {
        if (Worker::get() == nullptr) {
            return NGX_HTTP_SERVICE_UNAVAILABLE;
        }
        if (!location_conf(request).owt) {
            return NGX_HTTP_FORBIDDEN;  // a configuration that has not been judged as one with owt
        }
        ngx_int_t rc = judge(request);
        if (rc != NGX_DECLINED) {
            return rc;
        }
        if (!(request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD | NGX_HTTP_POST))) {
            rc = ngx_http_discard_request_body(request);
            if (rc != NGX_OK) {
                return rc;
            }
            return send_problem(request, {405, "", "Use GET, HEAD or POST."});
        }
        if (request->connection->requests <= 1) {
            // A program that an adaptor starts would keep the connection open.
            ::fcntl(request->connection->fd, F_SETFD, FD_CLOEXEC);
        }
        auto* exchange = make_in_pool<Exchange>(request->pool, request);
        if (exchange == nullptr) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        find_state(request)->exchange = exchange;
        request->request_body_in_single_buf = 1;
        rc = ngx_http_read_client_request_body(request, body_is_read);
        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, 0, "owt: %s", error.what());
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}

void advance(Call& call) noexcept {
    auto* exchange = static_cast<Exchange*>(call.exchange);
    if (exchange == nullptr || exchange->busy != nullptr) {
        return;  // nobody waits, or the client is slow: on_writable() goes on
    }
    ngx_connection_t* connection = exchange->request->connection;
    ngx_http_set_log_request(connection->log, exchange->request);
    guarded(*exchange, [&] {
        Batch batch;
        if (call.take(batch) && send_batch(*exchange, batch)) {
            arm(*exchange);
        }
    });
    ngx_http_run_posted_requests(connection);
}

void resume(Exchange& exchange, KeptPtr kept) noexcept {
    ngx_connection_t* connection = exchange.request->connection;
    ngx_http_set_log_request(connection->log, exchange.request);
    guarded(exchange, [&] { go(exchange, exchange.caching->resume(exchange.request, std::move(kept))); });
    ngx_http_run_posted_requests(connection);
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
