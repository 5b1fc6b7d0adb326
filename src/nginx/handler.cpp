// A request becomes a call: its body is read, its parameters make a call, the call goes to the pool.

#include "nginx/handler.hpp"

#include "call/hooks.hpp"
#include "call/params.hpp"
#include "nginx/access.hpp"
#include "nginx/aim.hpp"
#include "nginx/answer.hpp"
#include "nginx/asked.hpp"
#include "nginx/cache.hpp"
#include "nginx/conf.hpp"
#include "nginx/console.hpp"
#include "nginx/exchange.hpp"
#include "nginx/late_body.hpp"
#include "nginx/passing.hpp"
#include "nginx/state.hpp"
#include "nginx/telling.hpp"
#include "nginx/turns.hpp"
#include "nginx/worker.hpp"

namespace owt {

namespace {

// A client that leaves after its request has been read is seen only by who looks.
void watch_client(ngx_http_request_t* request) {
    request->read_event_handler = ngx_http_test_reading;
    request->write_event_handler = ngx_http_request_empty_handler;
    ngx_connection_t* connection = request->connection;
    if (connection->read->ready && request == request->main) {
        ngx_post_event(connection->read, &ngx_posted_events);
    }
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
