#include "nginx/status.hpp"

#include <algorithm>
#include <string>

#include "call/hooks.hpp"
#include "call/problem.hpp"
#include "call/text.hpp"
#include "nginx/access.hpp"
#include "nginx/answer.hpp"
#include "nginx/channel.hpp"
#include "nginx/conf.hpp"
#include "nginx/state.hpp"
#include "nginx/status_page.hpp"
#include "nginx/survey.hpp"
#include "nginx/view.hpp"
#include "nginx/worker.hpp"

namespace owt {

namespace {

constexpr std::string_view json = "application/json";
constexpr std::string_view text = "text/plain; charset=utf-8";
constexpr std::string_view prometheus = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view calls = "calls/";
constexpr std::string_view endpoints = "endpoints/";

std::int64_t now() {
    return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
}

std::string wrong_with(ngx_http_request_t* request, const Survey& seen) {
    std::vector<std::string> names;
    for (const Instance& instance : *main_conf(request).instances) {
        if (instance.hosts_python) {
            names.push_back(instance.name);
        }
    }
    return what_is_wrong(seen, names);
}

ngx_int_t send_health(ngx_http_request_t* request, const Survey& seen) {
    std::string wrong = wrong_with(request, seen);
    int status = wrong.empty() ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE;
    if (add_header(request, "Vary", "Accept") == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!prefers_json(find_header(request->headers_in.headers, "Accept"))) {
        return send_whole(request, status, text, wrong.empty() ? "ready\n" : "not ready: " + wrong + "\n");
    }
    std::string body = wrong.empty() ? "{\"ready\": true" : "{\"ready\": false, \"wrong\": ";
    if (!wrong.empty()) {
        append_json(body, wrong);
    }
    return send_whole(request, status, json, body + "}\n");
}

ngx_int_t not_there(ngx_http_request_t* request) {
    return send_problem(request, {404, "no-such-status",
                                  "Nothing of that name is shown here. There are: metrics, health, calls, processes, "
                                  "endpoints, and state, which is the last three in one."});
}

// ---- what is to end

// The process sees its orders in the next turn of its loop.
void poke(std::size_t place) {
    bool own = ngx_process != NGX_PROCESS_WORKER || place == static_cast<std::size_t>(ngx_process_slot);
    if (!own) {
        wake(place);
    } else if (Worker* worker = Worker::get()) {
        worker->told();
    }
}

ngx_int_t accept(ngx_http_request_t* request, const std::string& what) {
    return send_whole(request, NGX_HTTP_ACCEPTED, text, what + "\n");
}

Problem too_many_orders() {
    return {503, "busy", "The process has more such orders than it has followed yet: try again in a second."};
}

ngx_int_t stop_call(ngx_http_request_t* request, Scoreboard& board, std::string_view id) {
    auto name = read_call_id(id);
    if (!name) {
        return send_problem(request, {400, "bad-call-id", "A call's id is as calls shows it, as 4711-12."});
    }
    Survey seen = survey(board);
    auto call = std::ranges::find_if(
        seen.calls, [&](const SeenCall& one) { return one.pid == name->pid && one.seen.number == name->number; });
    auto process = std::ranges::find(seen.processes, name->pid, [](const SeenProcess& one) { return one.process.pid; });
    if (call == seen.calls.end() || process == seen.processes.end()) {
        return send_problem(request, {404, "no-such-call", "No call of this id runs: it may have ended."});
    }
    if (!Orders::give(board.row(process->place).orders.stops, name->number)) {
        return send_problem(request, too_many_orders());
    }
    hook("ordered");
    poke(process->place);
    return accept(request, std::string(id) + " is told to end.");
}

ngx_int_t drop_endpoint(ngx_http_request_t* request, Scoreboard& board, std::string_view digits) {
    std::uint64_t number = digits.size() <= 64 ? endpoint_number(digits) : 0;
    if (number == 0 || !std::ranges::all_of(digits, [](char c) { return hex_digit(c) >= 0; })) {
        return send_problem(request, {400, "bad-endpoint",
                                      "An endpoint is named by the SHA-256 of its code, or its first sixteen digits."});
    }
    Survey seen = survey(board);
    auto endpoint = std::ranges::find(seen.endpoints, number, &SeenEndpoint::number);
    if (endpoint == seen.endpoints.end()) {
        return send_problem(request, {404, "no-such-endpoint", "No process has loaded this endpoint."});
    }
    for (const SeenProcess& process : seen.processes) {
        if (std::ranges::find(endpoint->pids, process.process.pid) == endpoint->pids.end()) {
            continue;
        }
        if (!Orders::give(board.row(process.place).orders.drops, number)) {
            return send_problem(request, too_many_orders());
        }
        poke(process.place);
    }
    return accept(request, std::string(digits) + " is dropped, where it runs once that has ended.");
}

// ----

ngx_int_t refuse_method(ngx_http_request_t* request, std::string_view allow, std::string_view use) {
    return send_problem(request, {405, "", std::string(use)}, allow);
}

ngx_int_t show(ngx_http_request_t* request, const Scoreboard& board, std::string_view view) {
    if (view.empty()) {
        return send_page(request, status_headers(), status_page());
    }
    Survey seen = survey(board);
    if (view == "health") {
        return send_health(request, seen);
    }
    if (view == "metrics") {
        return send_whole(request, NGX_HTTP_OK, prometheus, metrics_text(seen, board));
    }
    if (view == "state") {
        return send_whole(request, NGX_HTTP_OK, json, all_json(seen, now(), wrong_with(request, seen)));
    }
    if (view == "calls") {
        return send_whole(request, NGX_HTTP_OK, json, calls_json(seen, now()) + "\n");
    }
    if (view == "processes") {
        return send_whole(request, NGX_HTTP_OK, json, processes_json(seen) + "\n");
    }
    if (view == "endpoints") {
        return send_whole(request, NGX_HTTP_OK, json, endpoints_json(seen) + "\n");
    }
    return not_there(request);
}

ngx_int_t answer(ngx_http_request_t* request) {
    Scoreboard* board = main_conf(request).board;
    if (board == nullptr) {
        return send_problem(request, {503, "no-scoreboard", "This server's processes know nothing of each other."});
    }
    std::string_view view = view_of(request);
    bool ends = (view.starts_with(calls) && view.size() > calls.size()) ||
                (view.starts_with(endpoints) && view.size() > endpoints.size());
    if (ends) {
        if (request->method != NGX_HTTP_DELETE) {
            return refuse_method(request, "DELETE", "Use DELETE: it ends a call, or drops an endpoint.");
        }
        return view.starts_with(calls) ? stop_call(request, *board, view.substr(calls.size()))
                                       : drop_endpoint(request, *board, view.substr(endpoints.size()));
    }
    if (!(request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return refuse_method(request, "GET, HEAD", "Use GET or HEAD.");
    }
    return show(request, *board, view);
}

}  // namespace

char* set_status(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& location = *static_cast<LocationConf*>(conf);
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    if (location.status != Showing::nothing) {
        return const_cast<char*>("is duplicate");
    }
    if (location.owt != nullptr) {
        return fail(cf, both_owt_and_status);
    }
    std::string_view what = cf->args->nelts > 1 ? to_view(begin_of<ngx_str_t>(*cf->args)[1]) : "";
    if (what == "metrics") {
        location.status = Showing::metrics;
    } else if (what == "health") {
        location.status = Showing::health;
    } else if (!what.empty()) {
        return fail(cf,
                    "\"" + std::string(what) + "\" is neither \"metrics\" nor \"health\"; without either it is all");
    } else {
        location.status = Showing::all;
        bool is_prefix = !core->exact_match && !core->named && !core->noname;
#if (NGX_PCRE)
        is_prefix = is_prefix && core->regex == nullptr;
#endif
        if (!is_prefix || !to_view(core->name).ends_with('/')) {
            return fail(cf,
                        "the page and what belongs to it lie below the location, which has to end in a slash: "
                        "write it as in \"location /owt/ { owt_status; }\"");
        }
        core->auto_redirect = 1;
    }
    core->handler = show_status;
    return NGX_CONF_OK;
}

void merge_status(ngx_conf_t* cf, const LocationConf& outer, LocationConf& inner) {
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    if (core->noname && outer.status != Showing::nothing) {
        inner.status = outer.status;
        if (core->handler == nullptr) {
            core->handler = show_status;
        }
    }
}

ngx_int_t show_status(ngx_http_request_t* request) noexcept {
    try {
        ngx_int_t rc = judge(request);
        if (rc != NGX_DECLINED) {
            return rc;
        }
        rc = ngx_http_discard_request_body(request);
        return rc != NGX_OK ? rc : answer(request);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, 0, "owt: %s", error.what());
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}

}  // namespace owt
