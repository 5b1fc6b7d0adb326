#include "nginx/sending.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "call/text.hpp"
#include "call/uptime.hpp"
#include "nginx/answer.hpp"
#include "nginx/asked.hpp"

namespace owt {

namespace {

// A stream whose adaptor knows its length; -1 if it does not.
off_t declared_length(const Head& head) {
    for (const Header& header : head.headers) {
        if (same(header.name, "Content-Length")) {
            return ngx_atoof(reinterpret_cast<u_char*>(const_cast<char*>(header.value.data())), header.value.size());
        }
    }
    return -1;
}

// False if memory is short.
bool set_head(Exchange& exchange, const Head& head) {
    ngx_http_request_t* request = exchange.request;
    request->headers_out.status = static_cast<ngx_uint_t>(head.status);
    return std::ranges::all_of(head.headers,
                               [&](const Header& header) { return set_header(request, header.name, header.value); }) &&
           set_report(exchange);
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

bool set_type_by_name(ngx_http_request_t* request, std::string_view name) {
    std::size_t dot = name.rfind('.');
    std::string_view extension = dot == std::string_view::npos ? "" : name.substr(dot + 1);
    request->exten = to_ngx_str(request->pool, extension);
    return ngx_http_set_content_type(request) == NGX_OK;
}

}  // namespace

bool set_report(Exchange& exchange) {
    Timing timing = exchange.call->timing();
    std::array<char, 128> text;
    char* end = text.data();
    for (auto [name, seconds] : {std::pair("queue;dur=", timing.queue), std::pair(", load;dur=", timing.load),
                                 std::pair(", run;dur=", timing.run)}) {
        end = std::ranges::copy(std::string_view(name), end).out;
        end = to_milliseconds(seconds, end, text.data() + text.size());
    }
    return add_header(exchange.request, "Server-Timing", {text.data(), end}) != nullptr &&
           (!exchange.caching || exchange.caching->report(exchange.request));
}

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
    std::string_view type = to_view(out.content_type).substr(0, out.content_type_len);
    exchange.events = same(type, "text/event-stream");
    exchange.head_sent = true;
    return ngx_http_send_header(request);
}

ngx_int_t send_head_of_events(Exchange& exchange) {
    ngx_http_request_t* request = exchange.request;
    request->headers_out.status = NGX_HTTP_OK;
    exchange.head_sent = true;
    if (!set_content_type(request, "text/event-stream") ||
        add_header(request, "Cache-Control", "no-store") == nullptr ||
        add_header(request, "X-Accel-Buffering", "no") == nullptr ||
        (prefers_events(request) && add_header(request, "Preference-Applied", "events") == nullptr) ||
        (exchange.caching && !exchange.caching->report(request))) {
        return NGX_ERROR;
    }
    return ngx_http_send_header(request);
}

bool type_file(Exchange& exchange, Batch& batch) {
    auto is_type = [](const Header& header) { return same(header.name, "Content-Type"); };
    if (std::ranges::any_of(batch.head->headers, is_type)) {
        return true;
    }
    auto& out = exchange.request->headers_out;
    if (!set_type_by_name(exchange.request, batch.file->name)) {
        return false;
    }
    batch.head->headers.push_back({"Content-Type", std::string(to_view(out.content_type))});
    out.content_type.len = 0;  // the stream has its own
    return true;
}

std::optional<Batch> kept_batch(Exchange& exchange) {
    const Zone::Result& result = exchange.caching->result();
    auto body = exchange.caching->body(exchange.request);
    if (!body) {
        return std::nullopt;
    }
    Batch batch;
    batch.head.emplace().status = status_in(result.head);
    each_header_in(result.head, [&](std::string_view name, std::string_view value) {
        batch.head->headers.push_back({std::string(name), std::string(value)});
    });
    if (!body->empty()) {
        batch.pieces.push_back({*body, nullptr});  // it lives as long as the request
    }
    batch.end = End::finished;
    batch.whole = true;
    return batch;
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
    if (out.content_type.len == 0 && !set_type_by_name(request, to_view(file->name))) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
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
        set = set && add_header(request, "Age", std::to_string((uptime() - result.kept_at).count())) != nullptr;
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

bool make_chain(Exchange& exchange, Batch& batch, ngx_chain_t*& out) {
    ngx_chain_t** last = &out;
    ngx_buf_t* buffer = nullptr;
    for (const Piece& piece : batch.pieces) {
        buffer = append_buffer(exchange, last);
        if (buffer == nullptr) {
            return false;
        }
        auto* bytes = reinterpret_cast<u_char*>(const_cast<char*>(piece.bytes.data()));
        buffer->pos = buffer->start = bytes;
        buffer->last = buffer->end = bytes + piece.bytes.size();
        buffer->memory = 1;
        buffer->flush = 1;
    }
    if (exchange.unsent.empty()) {
        exchange.unsent = std::move(batch.pieces);
    } else {
        std::ranges::move(batch.pieces, std::back_inserter(exchange.unsent));
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

std::size_t settle(Exchange& exchange, ngx_chain_t* out) {
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
    return bytes;
}

}  // namespace owt
