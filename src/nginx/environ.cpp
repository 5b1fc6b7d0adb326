#include "nginx/environ.hpp"

#include <array>
#include <charconv>

#include "call/path.hpp"
#include "call/text.hpp"
#include "call/trace.hpp"
#include "nginx/headers.hpp"
#include "nginx/state.hpp"

namespace owt {

namespace {

void put(std::string& environ, std::string_view name, std::string_view value) {
    environ.append(name).push_back('\0');
    // A NUL in a decoded path would end the value early, and no program expects one.
    environ.append(value.substr(0, value.find('\0'))).push_back('\0');
}

void put_header(std::string& environ, std::string_view name, std::string_view value) {
    environ.append("HTTP_");
    for (char c : name) {
        environ.push_back(c == '-' ? '_' : static_cast<char>(ngx_toupper(c)));
    }
    environ.push_back('\0');
    environ.append(value).push_back('\0');
}

std::string_view port_of(sockaddr* address, std::array<char, 8>& text) {
    return {text.data(), std::to_chars(text.data(), text.data() + text.size(), ngx_inet_get_port(address)).ptr};
}

std::string path_of(ngx_http_request_t* request) {
    // After a rewrite, or in a subrequest, the path that the client has sent is no longer what this is about.
    if (request != request->main || !request->valid_unparsed_uri) {
        return std::string(to_view(request->uri));
    }
    return path_for_adaptor(to_view(request->unparsed_uri), to_view(request->uri));
}

// Newer ones know what HTTP/2 has in place of a Host header in two parts.
template <typename Request>
unsigned port_asked_for(const Request& request) {
    if constexpr (requires { request.port; }) {
        return request.port;
    } else {
        return 0;
    }
}

std::string_view between(const u_char* begin, const u_char* end) {
    if (begin == nullptr || end == nullptr) {
        return {};
    }
    return {reinterpret_cast<const char*>(begin), static_cast<std::size_t>(end - begin)};
}

}  // namespace

bool is_https(ngx_http_request_t* request) {
    ngx_connection_t* connection = request->connection;
#if (NGX_HTTP_SSL)
    if (connection->ssl != nullptr) {
        return true;
    }
#endif
    if (connection->local_sockaddr == nullptr || connection->local_sockaddr->sa_family != AF_UNIX) {
        return false;
    }
    std::size_t told = 0;
    bool secure = false;
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        if (same(to_view(header.key), "X-Forwarded-Proto")) {
            ++told;
            secure = to_view(header.value) == "https";
        }
    });
    return told == 1 && secure;
}

std::string host_of(ngx_http_request_t* request) {
    std::string_view authority = between(request->host_start, request->host_end);
    if (!authority.empty()) {
        std::string told(authority);
        if (request->http_version < NGX_HTTP_VERSION_20) {
            // Older ones end it before the port.
            std::string_view rest = between(request->host_end, request->request_end);
            rest = rest.substr(0, rest.find_first_not_of(":0123456789"));
            told.append(rest);
        }
        return told;
    }
    if (request->headers_in.host != nullptr) {
        return std::string(to_view(request->headers_in.host->value));
    }
    std::string told(to_view(request->headers_in.server));
    if (unsigned port = port_asked_for(*request); port != 0 && !told.empty()) {
        told.append(":").append(std::to_string(port));
    }
    return told;
}

std::string environ_of(ngx_http_request_t* request, std::size_t body_size) {
    ngx_connection_t* connection = request->connection;
    auto* server = static_cast<ngx_http_core_srv_conf_t*>(ngx_http_get_module_srv_conf(request, ngx_http_core_module));
    std::array<char, 8> port;
    std::string environ;
    environ.reserve(1024);
    put(environ, "REQUEST_METHOD", request->method == NGX_HTTP_HEAD ? "GET" : to_view(request->method_name));
    put(environ, "SCRIPT_NAME", "");
    put(environ, "PATH_INFO", path_of(request));
    put(environ, "QUERY_STRING", to_view(request->args));
    put(environ, "REQUEST_URI", to_view(request->unparsed_uri));
    put(environ, "SERVER_PROTOCOL", to_view(request->http_protocol));
    std::string_view host = to_view(request->headers_in.server);
    put(environ, "SERVER_NAME", host.empty() ? to_view(server->server_name) : host);
    if (ngx_connection_local_sockaddr(connection, nullptr, 0) == NGX_OK) {
        put(environ, "SERVER_PORT", port_of(connection->local_sockaddr, port));
    }
    put(environ, "REMOTE_ADDR", to_view(connection->addr_text));
    put(environ, "REMOTE_PORT", port_of(connection->sockaddr, port));
    bool https = is_https(request);
    put(environ, "REQUEST_SCHEME", https ? "https" : "http");
    if (https) {
        put(environ, "HTTPS", "on");
    }
    const RequestState* state = find_state(request);
    if (state != nullptr && !state->user.empty()) {
        put(environ, "AUTH_TYPE", "Basic");
        put(environ, "REMOTE_USER", state->user);
    }
    if (request->headers_in.content_type != nullptr) {
        put(environ, "CONTENT_TYPE", to_view(request->headers_in.content_type->value));
    }
    if (body_size > 0) {
        put(environ, "CONTENT_LENGTH", std::to_string(body_size));
    }
    if (std::string told = host_of(request); !told.empty()) {
        put_header(environ, "Host", told);
    }
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        std::string_view name = to_view(header.key);
        if (!same(name, "Content-Type") && !same(name, "Content-Length") && !same(name, "Host")) {
            put_header(environ, name, to_view(header.value));
        }
    });
    return environ;
}

std::optional<std::string> trace_id_of(ngx_http_request_t* request) {
    std::string_view id;
    std::size_t told = 0;
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        if (same(to_view(header.key), "traceparent")) {
            ++told;
            id = trace_id_in(to_view(header.value));
        }
    });
    return told == 1 && !id.empty() ? std::optional(std::string(id)) : std::nullopt;
}

}  // namespace owt
