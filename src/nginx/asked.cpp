#include "nginx/asked.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "call/json.hpp"
#include "call/locate.hpp"
#include "call/sha256.hpp"
#include "call/text.hpp"
#include "call/urlencoded.hpp"
#include "nginx/answer.hpp"

namespace owt {

namespace {

// More than this of a body is read by nobody on the event loop.
constexpr off_t largest_body = 16 << 20;

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
    int n = std::snprintf(text.data(), text.size(), "%u", static_cast<unsigned>(ngx_inet_get_port(address)));
    return {text.data(), static_cast<std::size_t>(n)};
}

// The first bytes of a body, to tell JSON.
std::string_view body_start(const Call::Asked& asked, std::array<char, 64>& block) {
    if (!asked.body_file) {
        return asked.body;
    }
    ssize_t n = ::pread(asked.body_file.get(), block.data(), block.size(), 0);
    return {block.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

std::string_view content_type(ngx_http_request_t* request) {
    ngx_table_elt_t* type = request->headers_in.content_type;
    return type != nullptr ? to_view(type->value) : std::string_view();
}

// All of a body, in memory or in a file; nullopt if it is not there (yet), or too large.
std::optional<std::string> whole_body(ngx_http_request_t* request) {
    ngx_http_request_body_t* body = request->request_body;
    if (body == nullptr || request->reading_body || request->request_body_no_buffering) {
        return std::nullopt;
    }
    std::string text;
    for (ngx_chain_t* link = body->bufs; link != nullptr; link = link->next) {
        ngx_buf_t* part = link->buf;
        bool in_memory = ngx_buf_in_memory(part);
        if (!in_memory && !part->in_file) {
            continue;  // it only says that this is the end
        }
        // From its start: by now a proxy may have sent it.
        off_t size = in_memory ? part->last - part->start : part->file_last;
        if (size > largest_body - static_cast<off_t>(text.size())) {
            return std::nullopt;
        }
        std::size_t before = text.size();
        text.resize(before + static_cast<std::size_t>(size));
        if (in_memory) {
            ngx_memcpy(text.data() + before, part->start, static_cast<std::size_t>(size));
        } else if (part->file->fd == NGX_INVALID_FILE ||  // a proxy has closed it
                   ngx_read_file(part->file, reinterpret_cast<u_char*>(text.data()) + before,
                                 static_cast<std::size_t>(size), 0) != size) {
            return std::nullopt;
        }
    }
    return text;
}

}  // namespace

std::string environ_of(ngx_http_request_t* request, std::size_t body_size) {
    ngx_connection_t* connection = request->connection;
    auto* server = static_cast<ngx_http_core_srv_conf_t*>(ngx_http_get_module_srv_conf(request, ngx_http_core_module));
    std::array<char, 8> port;
    std::string environ;
    environ.reserve(1024);
    put(environ, "REQUEST_METHOD", request->method == NGX_HTTP_HEAD ? "GET" : to_view(request->method_name));
    put(environ, "SCRIPT_NAME", "");
    put(environ, "PATH_INFO", to_view(request->uri));
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
    bool https = false;
#if (NGX_HTTP_SSL)
    https = connection->ssl != nullptr;
#endif
    put(environ, "REQUEST_SCHEME", https ? "https" : "http");
    if (request->headers_in.content_type != nullptr) {
        put(environ, "CONTENT_TYPE", to_view(request->headers_in.content_type->value));
    }
    if (body_size > 0) {
        put(environ, "CONTENT_LENGTH", std::to_string(body_size));
    }
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        std::string_view name = to_view(header.key);
        if (!same(name, "Content-Type") && !same(name, "Content-Length")) {
            put_header(environ, name, to_view(header.value));
        }
    });
    return environ;
}

std::optional<std::size_t> take_body(ngx_http_request_t* request, Call::Asked& asked) {
    ngx_http_request_body_t* body = request->request_body;
    if (body == nullptr || body->bufs == nullptr) {
        return 0;
    }
    if (body->temp_file != nullptr) {
        asked.body_file = Fd(::fcntl(body->temp_file->file.fd, F_DUPFD_CLOEXEC, 0));
        if (!asked.body_file) {
            return std::nullopt;
        }
        return static_cast<std::size_t>(body->temp_file->file.offset);
    }
    std::size_t size = 0;
    for (ngx_chain_t* link = body->bufs; link != nullptr; link = link->next) {
        size += static_cast<std::size_t>(ngx_buf_size(link->buf));
    }
    asked.body.reserve(size);
    for (ngx_chain_t* link = body->bufs; link != nullptr; link = link->next) {
        asked.body.append(reinterpret_cast<char*>(link->buf->pos),
                          static_cast<std::size_t>(link->buf->last - link->buf->pos));
    }
    return size;
}

Complaint read_params(ngx_http_request_t* request, Call::Asked& asked) {
    std::array<char, 64> block;
    std::string_view query = to_view(request->args);
    asked.place = locate(query, content_type(request), body_start(asked, block));
    if (asked.place == Place::nowhere) {
        return no_code_text();
    }
    if (asked.place == Place::multipart || (asked.place != Place::query && asked.body_file)) {
        return std::nullopt;
    }
    asked.parsed = true;
    switch (asked.place) {
        case Place::query:
            return read_urlencoded(query, asked.params);
        case Place::json:
            return read_json(asked.body, asked.params);
        default:
            return read_urlencoded(asked.body, asked.params);
    }
}

bool complete_key(Call::Asked& asked) {
    if (!asked.parsed) {
        return false;
    }
    if (asked.place != Place::query || !asked.params.use_cache || !asked.params.cache_kwargs ||
        asked.params.cache_key_override) {
        return true;
    }
    asked.further = sha256_hex(asked.body);
    return !asked.body_file;
}

std::optional<std::string> code_id_of(ngx_http_request_t* request) {
    std::string_view query = to_view(request->args);
    Params params;
    Complaint complaint;
    if (names_code(query)) {
        complaint = read_urlencoded(query, params);
    } else {
        auto body = whole_body(request);
        if (!body) {
            return std::nullopt;
        }
        Place place = locate(query, content_type(request), *body);
        if (place != Place::json && place != Place::urlencoded) {
            return std::string();
        }
        complaint = place == Place::json ? read_json(*body, params) : read_urlencoded(*body, params);
    }
    return complaint ? std::string() : params.code_id;
}

}  // namespace owt
