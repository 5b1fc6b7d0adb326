#include "nginx/answer.hpp"

#include <algorithm>
#include <array>
#include <type_traits>

#include "call/params.hpp"
#include "call/text.hpp"
#include "nginx/environ.hpp"

namespace owt {

namespace {

// Headers of the connection are nginx's business, and the length of a body that is complete is known better here.
bool is_nginx_own(std::string_view name) {
    static constexpr std::array<std::string_view, 8> names = {
        "Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade",
        "TE",         "Trailer",    "Proxy-Connection",  "Content-Length"};
    return std::any_of(names.begin(), names.end(), [&](std::string_view own) { return same(own, name); });
}

// Where nginx's own `expires` looks for what it is to replace: an array until 1.23, then a list.
template <typename Out, typename Header>
bool note_cache_control(ngx_http_request_t* request, Out& out, Header* header) {
    if constexpr (std::is_same_v<decltype(out.cache_control), ngx_array_t>) {
        ngx_array_t& all = out.cache_control;
        if (all.elts == nullptr && ngx_array_init(&all, request->pool, 1, sizeof(void*)) != NGX_OK) {
            return false;
        }
        auto** place = static_cast<Header**>(ngx_array_push(&all));
        if (place != nullptr) {
            *place = header;
        }
        return place != nullptr;
    } else {
        Header** place = &out.cache_control;
        while (*place != nullptr) {
            place = &(*place)->next;
        }
        *place = header;
        return true;
    }
}

// What curl has to be told to come here, as far as the client has said so in words that a shell takes as they are.
std::string server_for_curl(ngx_http_request_t* request) {
    std::string server = host_of(request);
    constexpr auto plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:[]-";
    if (server.empty() || server.front() == '-' || server.find_first_not_of(plain) != std::string::npos) {
        server = "localhost";
    }
    if (is_https(request)) {
        server.insert(0, "https://");
    }
    return server.find('[') == std::string::npos ? server : "'" + server + "'";
}

}  // namespace

std::string_view find_header(ngx_list_t& list, std::string_view name) {
    std::string_view value;
    each_header(list, [&](const ngx_table_elt_t& header) {
        if (value.empty() && same(to_view(header.key), name)) {
            value = to_view(header.value);
        }
    });
    return value;
}

ngx_table_elt_t* add_header(ngx_http_request_t* request, std::string_view name, std::string_view value) {
    ngx_str_t key = to_ngx_str(request->pool, name);
    ngx_str_t text = to_ngx_str(request->pool, value);
    auto* header = static_cast<ngx_table_elt_t*>(ngx_list_push(&request->headers_out.headers));
    if (header == nullptr || key.data == nullptr || text.data == nullptr) {
        return nullptr;
    }
    ngx_memzero(header, sizeof(*header));
    header->hash = 1;
    header->key = key;
    header->value = text;
    auto& out = request->headers_out;
    if (same(name, "Cache-Control") && !note_cache_control(request, out, header)) {
        return nullptr;
    }
    if (same(name, "Expires")) {
        out.expires = header;
    }
    return header;
}

bool set_content_type(ngx_http_request_t* request, std::string_view type) {
    auto& out = request->headers_out;
    out.content_type = to_ngx_str(request->pool, type);
    // What gzip_types and its like compare.
    std::string_view bare = type.substr(0, type.find(';'));
    while (!bare.empty() && bare.back() == ' ') {
        bare.remove_suffix(1);
    }
    out.content_type_len = bare.size();
    out.content_type_lowcase = nullptr;
    return out.content_type.data != nullptr;
}

bool set_header(ngx_http_request_t* request, std::string_view name, std::string_view value) {
    auto& out = request->headers_out;
    if (same(name, "Content-Type")) {
        return set_content_type(request, value);
    }
    if (is_nginx_own(name)) {
        return true;
    }
    ngx_table_elt_t* header = add_header(request, name, value);
    if (header == nullptr) {
        return false;
    }
    // Where nginx's filters look for them.
    if (same(name, "ETag")) {
        out.etag = header;
    } else if (same(name, "Last-Modified")) {
        out.last_modified = header;
        out.last_modified_time = ngx_parse_http_time(header->value.data, header->value.len);
    } else if (same(name, "Content-Encoding")) {
        out.content_encoding = header;
    } else if (same(name, "Date")) {
        out.date = header;
    } else if (same(name, "Server")) {
        out.server = header;
    }
    return true;
}

bool may_send_body(ngx_http_request_t* request, ngx_int_t rc) {
    return rc != NGX_ERROR && rc <= NGX_OK && !request->header_only;
}

ngx_int_t send_body(ngx_http_request_t* request, std::string_view body) {
    auto* buffer = static_cast<ngx_buf_t*>(ngx_calloc_buf(request->pool));
    if (buffer == nullptr) {
        return NGX_ERROR;
    }
    auto* bytes = reinterpret_cast<u_char*>(const_cast<char*>(body.data()));
    buffer->pos = buffer->start = bytes;
    buffer->last = buffer->end = bytes + body.size();
    buffer->memory = !body.empty();
    buffer->last_buf = request == request->main;
    buffer->last_in_chain = 1;
    buffer->sync = body.empty();
    ngx_chain_t chain{buffer, nullptr};
    return ngx_http_output_filter(request, &chain);
}

ngx_int_t send_whole(ngx_http_request_t* request, int status, std::string_view type, std::string_view text) {
    ngx_str_t body = to_ngx_str(request->pool, text);
    if (body.data == nullptr || !set_content_type(request, type)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    request->headers_out.status = static_cast<ngx_uint_t>(status);
    request->headers_out.content_length_n = static_cast<off_t>(body.len);
    ngx_int_t rc = ngx_http_send_header(request);
    if (!may_send_body(request, rc)) {
        return rc;
    }
    return send_body(request, to_view(body));
}

ngx_int_t send_page(ngx_http_request_t* request, std::span<const std::pair<std::string_view, std::string_view>> headers,
                    std::string_view body) {
    std::string_view type;
    for (const auto& [name, value] : headers) {
        if (name == "Content-Type") {
            type = value;
        } else if (!set_header(request, name, value)) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return send_whole(request, NGX_HTTP_OK, type, body);
}

ngx_int_t send_problem(ngx_http_request_t* request, const Problem& problem, std::string_view allow) {
    bool json = prefers_json(find_header(request->headers_in.headers, "Accept"));
    if (add_header(request, "Vary", "Accept") == nullptr ||
        (problem.status == NGX_HTTP_NOT_ALLOWED && add_header(request, "Allow", allow) == nullptr) ||
        (problem.status == NGX_HTTP_UNSUPPORTED_MEDIA_TYPE &&
         add_header(request, "Accept-Encoding", "identity") == nullptr) ||
        (problem.status == NGX_HTTP_SERVICE_UNAVAILABLE && add_header(request, "Retry-After", "1") == nullptr)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    Problem told = problem;
    if (told.detail == no_code_text()) {
        // Who knows no request says where the quick start listens.
        constexpr std::string_view quick_start = "localhost:9876";
        std::string server = server_for_curl(request);
        for (size_t at = 0; (at = told.detail.find(quick_start, at)) != std::string::npos; at += server.size()) {
            told.detail.replace(at, quick_start.size(), server);
        }
    }
    return json ? send_whole(request, told.status, "application/problem+json", problem_json(told))
                : send_whole(request, told.status, "text/plain; charset=utf-8", problem_text(told));
}

}  // namespace owt
