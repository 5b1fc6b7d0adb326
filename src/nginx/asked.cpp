#include "nginx/asked.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "call/fields.hpp"
#include "call/glance.hpp"
#include "call/json.hpp"
#include "call/kept.hpp"
#include "call/locate.hpp"
#include "call/sha256.hpp"
#include "call/text.hpp"
#include "call/urlencoded.hpp"
#include "nginx/answer.hpp"

namespace owt {

namespace {

// More than this of a body is read by nobody on the event loop: it takes some milliseconds.
constexpr std::size_t largest_part = 256 << 10;

// Below this nginx's memory comes in one piece with the request's.
constexpr std::size_t worth_sharing = 64 << 10;

// The first bytes of a body, to tell JSON.
std::string_view body_start(const Call::Asked& asked, std::array<char, 64>& block) {
    if (!asked.body_file) {
        return asked.body;
    }
    ssize_t n = ::pread(asked.body_file.get(), block.data(), block.size(), 0);
    return {block.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

// A Python thread is to read it, where that holds up nobody else.
bool is_large(const Call::Asked& asked) {
    return asked.body_file || asked.body.size() > largest_part;
}

std::string_view content_type(ngx_http_request_t* request) {
    ngx_table_elt_t* type = request->headers_in.content_type;
    return type != nullptr ? to_view(type->value) : std::string_view();
}

std::size_t size_in_memory(const ngx_buf_t& part) {
    return ngx_buf_in_memory(&part) ? static_cast<std::size_t>(part.last - part.pos) : 0;
}

bool is_coded(ngx_http_request_t* request) {
    bool coded = false;
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        if (same(to_view(header.key), "Content-Encoding")) {
            std::string_view value = trim(to_view(header.value), blanks);
            coded = coded || (!value.empty() && !same(value, "identity"));
        }
    });
    return coded;
}

struct Part {
    std::string text;
    bool all = true;
};

// So much of a body as may be read here, in memory or in a file; nullopt if it is not there (yet).
std::optional<Part> beginning_of_body(ngx_http_request_t* request) {
    ngx_http_request_body_t* body = request->request_body;
    if (body == nullptr || request->reading_body || request->request_body_no_buffering) {
        return std::nullopt;
    }
    Part found;
    std::string& text = found.text;
    for (ngx_chain_t* link = body->bufs; link != nullptr; link = link->next) {
        ngx_buf_t* part = link->buf;
        bool in_memory = ngx_buf_in_memory(part);
        if (!in_memory && !part->in_file) {
            continue;  // it only says that this is the end
        }
        // From its start: by now a proxy may have sent it.
        auto there = static_cast<std::size_t>(in_memory ? part->last - part->start : part->file_last);
        std::size_t before = text.size();
        std::size_t size = std::min(there, largest_part - before);
        found.all = found.all && size == there;
        text.resize(before + size);
        if (in_memory) {
            ngx_memcpy(text.data() + before, part->start, size);
        } else if (part->file->fd == NGX_INVALID_FILE ||  // a proxy has closed it
                   ngx_read_file(part->file, reinterpret_cast<u_char*>(text.data()) + before, size, 0) !=
                       static_cast<ssize_t>(size)) {
            return std::nullopt;
        }
    }
    return found;
}

bool has_body(const Call::Asked& asked) {
    return asked.body_file || !asked.body.empty();
}

std::optional<Problem> bad_parameters(const Complaint& complaint) {
    return complaint ? std::optional<Problem>({400, "bad-parameters", *complaint}) : std::nullopt;
}

// Of a published function.
std::optional<Problem> read_arguments(Call::Asked& asked) {
    if (asked.params.code_id == door) {
        asked.parsed = true;  // owt's own functions look at the request
        return std::nullopt;
    }
    if (asked.place == Place::multipart || (asked.place != Place::nowhere && is_large(asked))) {
        return std::nullopt;
    }
    asked.parsed = true;
    return bad_parameters(read_fields(asked.place, asked.query, asked.body, asked.params));
}

}  // namespace

bool body_is_whole(ngx_http_request_t* request) {
    const ngx_http_request_body_t* body = request->request_body;
    off_t here = 0;
    if (body != nullptr && body->temp_file != nullptr) {
        here = body->temp_file->file.offset;
    } else if (body != nullptr) {
        for (const ngx_chain_t* link = body->bufs; link != nullptr; link = link->next) {
            here += static_cast<off_t>(size_in_memory(*link->buf));
        }
    }
    // Where no length is declared HTTP/1 counts in its place, HTTP/2 and HTTP/3 beside it.
    off_t all = std::max(request->headers_in.content_length_n, body != nullptr ? body->received : 0);
    return !request->main->reading_body && here >= all;
}

std::optional<std::size_t> take_body(ngx_http_request_t* request, Call::Asked& asked) {
    ngx_http_request_body_t* body = request->request_body;
    if (body == nullptr || body->bufs == nullptr || (request != request->main && !body_is_whole(request))) {
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
        size += size_in_memory(*link->buf);
    }
    asked.body.reserve(size);
    for (ngx_chain_t* link = body->bufs; link != nullptr; link = link->next) {
        asked.body.append(reinterpret_cast<char*>(link->buf->pos), size_in_memory(*link->buf));
    }
    return size;
}

bool share_body(ngx_http_request_t* request, const Call::Asked& asked) {
    ngx_http_request_body_t* body = request->request_body;
    if (asked.body.size() < worth_sharing || request->preserve_body || request != request->main) {
        return true;
    }
    auto* buffer = static_cast<ngx_buf_t*>(ngx_calloc_buf(request->pool));
    ngx_chain_t* link = ngx_alloc_chain_link(request->pool);
    if (buffer == nullptr || link == nullptr) {
        return false;
    }
    auto* bytes = reinterpret_cast<u_char*>(const_cast<char*>(asked.body.data()));
    buffer->pos = buffer->start = bytes;
    buffer->last = buffer->end = bytes + asked.body.size();
    buffer->memory = 1;
    buffer->last_buf = 1;
    *link = {buffer, nullptr};
    body->bufs = link;
    if (ngx_buf_t* own = std::exchange(body->buf, nullptr)) {
        ngx_pfree(request->pool, own->start);
    }
    return true;
}

std::optional<Problem> read_params(ngx_http_request_t* request, Call::Asked& asked) {
    std::array<char, 64> block;
    bool published = asked.params.published;
    std::string_view query = to_view(request->args);
    if (published && (!has_body(asked) || asked.published->kind == Publication::Kind::tools)) {
        asked.place = Place::nowhere;
    } else {
        asked.place = locate(published ? "" : query, content_type(request), body_start(asked, block));
    }
    bool in_body = asked.place != Place::query;
    if (in_body && has_body(asked) && is_coded(request)) {
        return Problem{
            415, "coded-body",
            "The body is compressed (Content-Encoding), and parameters in it are not read. Send it as it is, "
            "or send the code in the query: then the body goes to the adaptor as it came."};
    }
    if (published) {
        return read_arguments(asked);
    }
    if (asked.place == Place::nowhere) {
        return Problem{400, "no-code", no_code_text()};
    }
    if (asked.place == Place::multipart || (in_body && is_large(asked))) {
        return std::nullopt;
    }
    asked.parsed = true;
    Complaint complaint = asked.place == Place::query  ? read_urlencoded(query, asked.params)
                          : asked.place == Place::json ? read_json(asked.body, asked.params)
                                                       : read_urlencoded(asked.body, asked.params);
    return bad_parameters(complaint);
}

bool prefers_events(ngx_http_request_t* request) {
    bool found = false;
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        found = found || (same(to_view(header.key), "Prefer") && has_directive(to_view(header.value), "events"));
    });
    return found;
}

bool complete_key(Call::Asked& asked) {
    if (!asked.parsed) {
        return false;
    }
    bool is_argument = asked.place == Place::query || (asked.place == Place::nowhere && has_body(asked));
    if (!is_argument || !asked.params.use_cache || !asked.params.cache_kwargs || asked.params.cache_key_override) {
        return true;
    }
    if (is_large(asked)) {
        return false;
    }
    asked.further = sha256_hex(asked.body);
    return true;
}

std::optional<std::string> code_id_of(ngx_http_request_t* request) {
    std::string_view query = to_view(request->args);
    Params params;
    Complaint complaint;
    if (names_code(query)) {
        complaint = read_urlencoded(query, params);
    } else {
        auto body = beginning_of_body(request);
        if (!body) {
            return std::nullopt;
        }
        Place place = locate(query, content_type(request), body->text);
        if (!body->all) {
            return glance_code_id(place, body->text);
        }
        if (place != Place::json && place != Place::urlencoded) {
            return std::string();
        }
        complaint = place == Place::json ? read_json(body->text, params) : read_urlencoded(body->text, params);
    }
    return complaint ? std::string() : params.code_id;
}

}  // namespace owt
