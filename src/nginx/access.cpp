#include "nginx/access.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <memory_resource>
#include <sstream>

#include "call/locate.hpp"
#include "call/urlencoded.hpp"
#include "guard/confirm.hpp"
#include "nginx/answer.hpp"
#include "nginx/conf.hpp"
#include "nginx/state.hpp"
#include "nginx/view.hpp"

namespace owt {

namespace {

ngx_http_output_header_filter_pt next_header_filter;

ngx_str_t* arguments(ngx_conf_t* cf) {
    return static_cast<ngx_str_t*>(cf->args->elts);
}

// --- A request as the guard sees it.

// What realip puts in its place counts if it is remote. What it claims to be local has to be connected from here too.
Address peer_of(const ngx_connection_t& connection, const Address& local) {
    Address told = address_of(connection.sockaddr);
    if (!is_local(told)) {
        return told;
    }
    if (local.kind == Address::Kind::unix_socket) {
        return local;
    }
    if (is_local(local)) {
        return told;  // nobody else comes to such an address
    }
    ngx_sockaddr_t address{};
    socklen_t size = sizeof(address);
    if (::getpeername(connection.fd, &address.sockaddr, &size) != 0) {
        return {};
    }
    return address_of(&address.sockaddr);
}

// Whole and as it came: nginx's own headers_in.server has lost what may be a port, whatever that is. The request line's
// (or :authority) goes before a Host header, as it does for nginx.
std::string_view asked_host(ngx_http_request_t* asked) {
    const ngx_http_request_t* request = asked->main;  // a subrequest knows less of it
    if (request->host_start == nullptr || request->host_end == nullptr) {
        ngx_table_elt_t* host = request->headers_in.host;
        return host != nullptr ? to_view(host->value) : std::string_view();
    }
    const auto* begin = reinterpret_cast<const char*>(request->host_start);
    if (request->http_version >= NGX_HTTP_VERSION_20) {
        return {begin, reinterpret_cast<const char*>(request->host_end)};
    }
    std::string_view line = to_view(request->request_line);
    std::string_view rest = line.substr(static_cast<std::size_t>(begin - line.data()));
    return rest.substr(0, rest.find_first_of("/? "));
}

Visit visit_of(ngx_http_request_t* request, std::pmr::memory_resource& memory) {
    ngx_connection_t* connection = request->connection;
    Visit visit(&memory);
    if (connection->proxy_protocol != nullptr) {
        visit.proxy_source = to_view(connection->proxy_protocol->src_addr);
    } else if (request->main->http_connection->addr_conf->proxy_protocol) {
        visit.proxy_source = "";  // PROXY UNKNOWN: whom the front stands for is not known
    }
    if (ngx_connection_local_sockaddr(connection, nullptr, 0) == NGX_OK) {
        visit.local = address_of(connection->local_sockaddr);
    }
    visit.peer = peer_of(*connection, visit.local);
#if (NGX_HTTP_SSL)
    visit.https = connection->ssl != nullptr;
#endif
    visit.method = to_view(request->method_name);
    visit.host = asked_host(request);
    visit.http10 = request->http_version < NGX_HTTP_VERSION_11;
    if (const auto* published = location_conf(request).published) {
        visit.names_code = (**published).kind != Publication::Kind::tools && request->args.len > 0;
    } else if (location_conf(request).status == Showing::nothing) {
        visit.names_code = names_code(to_view(request->args));
        visit.brings_python = visit.names_code && brings_python(to_view(request->args));
    }
    each_header(request->headers_in.headers,
                [&](const ngx_table_elt_t& header) { visit.add(to_view(header.key), to_view(header.value)); });
    return visit;
}

// The source that a link names by its hash alone; empty if it is not known.
std::string kept_source(ngx_http_request_t* request, const std::string& code_id) {
    const auto& main = main_conf(request);
    std::ifstream file(main.instances->front().settings.sources + "/sha256_" + code_id + ".py", std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

ngx_int_t send_confirm_page(ngx_http_request_t* request) {
    Params params;
    if (auto complaint = read_urlencoded(to_view(request->args), params)) {
        return send_problem(request, {400, "bad-parameters", *complaint});
    }
    if (params.code.empty()) {
        params.code = kept_source(request, params.code_id);
    }
    std::string page = confirm_page({.params = params,
                                     .path = to_view(request->uri),
                                     .query = to_view(request->args),
                                     .target = to_view(request->unparsed_uri)});
    return send_page(request, confirm_headers(), page);
}

bool log_in(ngx_http_request_t* request) {
    const Logins* logins = location_conf(request).logins;
    ngx_table_elt_t* authorization = request->headers_in.authorization;
    if (logins == nullptr) {
        return true;
    }
    auto user = authorization != nullptr ? logins->admit(to_view(authorization->value)) : std::nullopt;
    if (!user) {
        return false;
    }
    if (RequestState* state = ensure_state(request)) {
        state->user = std::move(*user);
    }
    return true;
}

// nginx's own auth_basic, whose handler is called through this one: only so it is known that it has let somebody in.
ngx_http_handler_pt check_basic;

ngx_int_t log_in_by_nginx(ngx_http_request_t* request) noexcept {
    ngx_int_t rc = check_basic(request);
    if (rc != NGX_OK || location_conf(request).owt == nullptr) {
        return rc;
    }
    RequestState* state = ensure_state(request);
    if (state == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    state->user = to_view(request->headers_in.user);
    return NGX_OK;
}

ngx_int_t send_verdict(ngx_http_request_t* request, const Verdict& verdict) {
    // Nothing of a body is read for those who are turned away.
    ngx_int_t rc = ngx_http_discard_request_body(request);
    if (rc != NGX_OK) {
        return rc;
    }
    if (request != request->main && verdict.kind != Verdict::Kind::refuse) {
        // Whoever asked for the subrequest would take a page for a yes.
        return send_problem(request, {403, "not-confirmed", "A link cannot run this: there is nobody to ask here."});
    }
    switch (verdict.kind) {
        case Verdict::Kind::confirm:
            return send_confirm_page(request);
        case Verdict::Kind::preflight:
            return send_whole(request, NGX_HTTP_NO_CONTENT, "", "");
        default:
            break;
    }
    std::string_view reason(verdict.problem.detail);
    reason = reason.substr(0, reason.find('\n'));
    ngx_log_error(NGX_LOG_INFO, request->connection->log, 0, "owt: the guard refuses: %*s", reason.size(),
                  reason.data());
    return send_problem(request, verdict.problem);
}

// --- In nginx's phases.

ngx_int_t preaccess(ngx_http_request_t* request) noexcept {
    const LocationConf& conf = location_conf(request);
    if (!conf.guard && conf.logins == nullptr) {
        return NGX_DECLINED;
    }
    ngx_int_t rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    try {
        rc = judge(request);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, 0, "owt: %s", error.what());
    }
    if (rc == NGX_DECLINED) {
        return NGX_DECLINED;
    }
    ngx_http_finalize_request(request, rc);
    return NGX_DONE;
}

ngx_int_t check_login(ngx_http_request_t* request) {
    if (location_conf(request).logins == nullptr) {
        return NGX_DECLINED;
    }
    if (log_in(request)) {
        return NGX_OK;
    }
    ngx_log_error(NGX_LOG_INFO, request->connection->log, 0, "owt: owt_auth knows no such user and password");
    request->headers_out.www_authenticate = add_header(request, "WWW-Authenticate", www_authenticate);
    if (request->headers_out.www_authenticate == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(request, ngx_http_core_module));
    if (core->satisfy == NGX_HTTP_SATISFY_ANY) {
        return NGX_HTTP_UNAUTHORIZED;  // others may still let it pass
    }
    ngx_int_t rc = ngx_http_discard_request_body(request);
    ngx_http_finalize_request(request, rc == NGX_OK ? send_problem(request, not_logged_in()) : rc);
    return NGX_DONE;
}

ngx_int_t access(ngx_http_request_t* request) noexcept {
    try {
        return check_login(request);
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, 0, "owt: %s", error.what());
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}

ngx_int_t add_guard_headers(ngx_http_request_t* request) {
    const RequestState* state = find_state(request);
    static const Verdict unjudged;
    for (const auto& [name, value] : guard_headers(state != nullptr ? state->verdict : unjudged)) {
        bool adds = name == "Vary";
        if ((adds || find_header(request->headers_out.headers, name).empty()) &&
            add_header(request, name, value) == nullptr) {
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

ngx_int_t header_filter(ngx_http_request_t* request) noexcept {
    const LocationConf& conf = location_conf(request);
    if ((conf.owt != nullptr || conf.guard || conf.status != Showing::nothing) && request == request->main &&
        add_guard_headers(request) != NGX_OK) {
        return NGX_ERROR;
    }
    if (conf.owt != nullptr && request->filter_finalize) {
        request->keepalive = 0;  // nginx ends the connection where a filter has answered (412), and would not say so
    }
    return next_header_filter(request);
}

// --- Configuration.

bool has_argument(ngx_conf_t* cf, std::string_view word) {
    return cf->args->nelts == 2 && to_view(arguments(cf)[1]) == word;
}

template <typename T>
bool ensure(ngx_conf_t* cf, T*& object) {
    if (object == NGX_CONF_UNSET_PTR) {
        object = make_in_pool<T>(cf->pool);
    }
    return object != nullptr;
}

void warn_of_address(ngx_conf_t* cf, const ngx_http_conf_addr_t& address, bool guarded) {
    if (is_local(address_of(address.opt.sockaddr))) {
        return;
    }
    if (guarded) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "owt: others than this machine's users could reach %V, where a location runs or passes on "
                           "what requests carry: remote clients will be refused there, unless it has owt_auth, or "
                           "\"owt_allow remote;\" beside other protection",
                           &address.opt.addr_text);
    } else {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "owt: a location with \"owt_guard off;\" runs the code of whoever reaches %V, others than "
                           "this machine's users included",
                           &address.opt.addr_text);
    }
}

void warn_of_addresses(ngx_conf_t* cf, const MainConf& main) {
    auto* core = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    if (core->ports == nullptr) {
        return;
    }
    auto* ports = static_cast<ngx_http_conf_port_t*>(core->ports->elts);
    for (ngx_uint_t i = 0; i < core->ports->nelts; i++) {
        auto* addresses = static_cast<ngx_http_conf_addr_t*>(ports[i].addrs.elts);
        for (ngx_uint_t j = 0; j < ports[i].addrs.nelts; j++) {
            auto** servers = static_cast<ngx_http_core_srv_conf_t**>(addresses[j].servers.elts);
            for (bool guarded : {true, false}) {
                bool here = std::ranges::any_of(*main.exposed, [&](const Exposed& exposed) {
                    return exposed.guarded == guarded &&
                           std::find(servers, servers + addresses[j].servers.nelts, exposed.server) !=
                               servers + addresses[j].servers.nelts;
                });
                if (here) {
                    warn_of_address(cf, addresses[j], guarded);
                }
            }
        }
    }
}

void add_server_names(ngx_conf_t* cf, const ngx_http_core_srv_conf_t& own, Rules& rules) {
    auto* core = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    auto** servers = static_cast<ngx_http_core_srv_conf_t**>(core->servers.elts);
    for (ngx_uint_t i = 0; i < core->servers.nelts; i++) {
        auto* names = static_cast<ngx_http_server_name_t*>(servers[i]->server_names.elts);
        for (ngx_uint_t j = 0; j < servers[i]->server_names.nelts; j++) {
#if (NGX_PCRE)
            if (names[j].regex != nullptr) {
                continue;
            }
#endif
            rules.add_server_name(to_view(names[j].name), servers[i] == &own);
        }
    }
}

// Its handler is known to nobody but itself. So it is asked to install it once more, which shows it.
void watch_logins(ngx_conf_t* cf) {
    ngx_module_t* module = nullptr;
    for (ngx_uint_t i = 0; cf->cycle->modules[i] != nullptr; i++) {
        if (std::string_view(cf->cycle->modules[i]->name) == "ngx_http_auth_basic_module") {
            module = cf->cycle->modules[i];
        }
    }
    auto* core = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    ngx_array_t& handlers = core->phases[NGX_HTTP_ACCESS_PHASE].handlers;
    ngx_uint_t before = handlers.nelts;
    if (module == nullptr || static_cast<ngx_http_module_t*>(module->ctx)->postconfiguration(cf) != NGX_OK ||
        handlers.nelts != before + 1) {
        return;
    }
    auto* begin = begin_of<ngx_http_handler_pt>(handlers);
    ngx_http_handler_pt its = begin[before];
    handlers.nelts = before;
    if (auto* found = std::find(begin, begin + before, its); found != begin + before) {
        check_basic = its;
        *found = log_in_by_nginx;
    }
}

ngx_int_t add_handler(ngx_conf_t* cf, ngx_http_phases phase, ngx_http_handler_pt handler) {
    auto* core = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    auto* slot = static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[phase].handlers));
    if (slot == nullptr) {
        return NGX_ERROR;
    }
    *slot = handler;
    return NGX_OK;
}

}  // namespace

ngx_int_t judge(ngx_http_request_t* request) {
    const LocationConf& conf = location_conf(request);
    RequestState* state = ensure_state(request);
    if (state == nullptr) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    // nginx asks for no login in a subrequest (mirror, SSI, auth_request).
    if (request != request->main && !log_in(request)) {
        return send_problem(request, not_logged_in());
    }
    if (!conf.guard || state->judged_by == conf.rules || asks_for_health(request)) {
        return NGX_DECLINED;
    }
    std::array<std::byte, 1536> block;  // enough for most requests
    std::pmr::monotonic_buffer_resource memory(block.data(), block.size());
    state->verdict = guard(visit_of(request, memory), *conf.rules);
    // What a link would call is shown by the function's own form.
    bool shown = conf.published != nullptr && state->verdict.kind == Verdict::Kind::confirm && request == request->main;
    if (state->verdict.kind == Verdict::Kind::pass || shown) {
        state->judged_by = conf.rules;
        return NGX_DECLINED;
    }
    return send_verdict(request, state->verdict);
}

char* set_guard(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    Guarding& given = static_cast<LocationConf*>(conf)->guard_given;
    if (given != Guarding::unsaid) {
        return const_cast<char*>("is duplicate");
    }
    if (has_argument(cf, "on")) {
        given = Guarding::on;
    } else if (has_argument(cf, "off")) {
        given = Guarding::off;
    } else if (has_argument(cf, "strict")) {
        given = Guarding::strict;
    } else {
        return fail(cf, "'" + std::string(to_view(arguments(cf)[1])) + "' is none of \"on\", \"off\" and \"strict\"");
    }
    return NGX_CONF_OK;
}

char* set_allow(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& location = *static_cast<LocationConf*>(conf);
    if (!ensure(cf, location.allowed)) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    location.allowed->place = place_of(cf);
    std::string_view what = to_view(arguments(cf)[1]);
    if (has_argument(cf, "remote")) {
        location.allowed->rules.remote = true;
        return NGX_CONF_OK;
    }
    if (has_argument(cf, "links")) {
        location.allowed->rules.links = true;
        return NGX_CONF_OK;
    }
    if (has_argument(cf, "http10")) {
        location.allowed->rules.http10 = true;
        return NGX_CONF_OK;
    }
    if (cf->args->nelts < 3 || (what != "host" && what != "origin")) {
        return fail(cf, "use \"remote\", \"links\", \"http10\", \"host name ...\" or \"origin origin ...\"");
    }
    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        std::string_view text = to_view(arguments(cf)[i]);
        Complaint complaint =
            what == "host" ? location.allowed->rules.allow_host(text) : location.allowed->rules.allow_origin(text);
        if (complaint) {
            return fail(cf, *complaint);
        }
    }
    return NGX_CONF_OK;
}

char* set_auth(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& location = *static_cast<LocationConf*>(conf);
    if (!ensure(cf, location.logins)) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        if (auto complaint = location.logins->add(to_view(arguments(cf)[i]))) {
            return fail(cf, *complaint);
        }
    }
    return NGX_CONF_OK;
}

char* merge_access(ngx_conf_t* cf, LocationConf& outer, LocationConf& inner) {
    MainConf& main = main_conf(cf);
    auto* server = static_cast<ngx_http_core_srv_conf_t*>(ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module));
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    // Inside `if`, nginx goes on with the handler of the location around it, but with a configuration of its own.
    // `limit_except` is the same, but for the handler.
    if (core->noname && outer.owt != nullptr) {
        inner.owt = outer.owt;
        if (core->handler == nullptr) {
            core->handler = outer.owt;  // the block may have one of its own, proxy_pass
        }
    }
    if (core->noname) {
        inner.name = outer.name;
    } else {
        inner.name = core->name;
    }
    bool shows = inner.status != Showing::nothing;
    if (inner.owt != nullptr) {
        main.located->push_back({server, &inner});
    }
    ngx_conf_merge_ptr_value(inner.logins, outer.logins, nullptr);
    ngx_conf_merge_ptr_value(inner.allowed, outer.allowed, nullptr);
    if (inner.guard_given == Guarding::unsaid) {
        inner.guard_given = outer.guard_given;
    }
    inner.guard =
        inner.guard_given != Guarding::unsaid ? inner.guard_given != Guarding::off : inner.owt != nullptr || shows;
    if (!inner.guard) {
        if (inner.owt != nullptr && (inner.published == nullptr || inner.runs_code)) {
            main.exposed->push_back({server, false});
        }
        return NGX_CONF_OK;
    }
    inner.rules = make_in_pool<Rules>(cf->pool, inner.allowed != nullptr ? inner.allowed->rules : Rules{});
    if (inner.rules == nullptr) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    inner.rules->has_auth = inner.logins != nullptr;
    inner.rules->published = inner.published != nullptr && !inner.runs_code;
    inner.rules->strict = inner.guard_given == Guarding::strict && inner.published == nullptr;
    add_server_names(cf, *server, *inner.rules);
    if (auto complaint = inner.rules->check()) {
        // By now nginx has read on to the end of the block.
        const char* place = inner.allowed != nullptr ? inner.allowed->place.c_str() : "the configuration";
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s in %s", complaint->c_str(), place);
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    if (!inner.rules->remote && !inner.rules->has_auth && !inner.rules->published && !shows) {
        main.exposed->push_back({server, true});
    }
    return NGX_CONF_OK;
}

ngx_int_t init_access(ngx_conf_t* cf) noexcept {
    MainConf& main = main_conf(cf);
    warn_of_addresses(cf, main);
    watch_logins(cf);
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    return add_handler(cf, NGX_HTTP_PREACCESS_PHASE, preaccess) == NGX_OK &&
                   add_handler(cf, NGX_HTTP_ACCESS_PHASE, access) == NGX_OK
               ? NGX_OK
               : NGX_ERROR;
}

}  // namespace owt
