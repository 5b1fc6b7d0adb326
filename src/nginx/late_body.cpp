#include "nginx/late_body.hpp"

namespace owt {

namespace {

ngx_temp_file_t* temp_file_of(ngx_http_request_t* request) {
    ngx_http_request_body_t* body = request->request_body;
    if (body->temp_file != nullptr) {
        return body->temp_file;
    }
    auto* file = static_cast<ngx_temp_file_t*>(ngx_pcalloc(request->pool, sizeof(ngx_temp_file_t)));
    if (file == nullptr) {
        return nullptr;
    }
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(request, ngx_http_core_module));
    file->file.fd = NGX_INVALID_FILE;
    file->file.log = request->connection->log;
    file->path = core->client_body_temp_path;
    file->pool = request->pool;
    file->log_level = NGX_LOG_INFO;
    file->warn = const_cast<char*>("owt: a request body that comes late is buffered to a temporary file");
    file->clean = 1;
    body->temp_file = file;
    return file;
}

// Moves what is in memory to the end of the file.
bool spool(ngx_http_request_t* request) {
    ngx_http_request_body_t* body = request->request_body;
    ngx_temp_file_t* file = temp_file_of(request);
    if (file == nullptr) {
        return false;
    }
    ssize_t written = ngx_write_chain_to_temp_file(file, body->bufs);
    if (written == NGX_ERROR) {
        return false;
    }
    file->offset += written;
    for (ngx_chain_t* link = std::exchange(body->bufs, nullptr); link != nullptr;) {
        link->buf->pos = link->buf->last;
        ngx_chain_t* next = link->next;
        ngx_free_chain(request->pool, link);
        link = next;
    }
    return true;
}

bool show_file(ngx_http_request_t* request) {
    ngx_http_request_body_t* body = request->request_body;
    if (body->temp_file == nullptr || body->temp_file->file.offset == 0) {
        return true;
    }
    auto* buffer = static_cast<ngx_buf_t*>(ngx_calloc_buf(request->pool));
    ngx_chain_t* link = ngx_alloc_chain_link(request->pool);
    if (buffer == nullptr || link == nullptr) {
        return false;
    }
    buffer->in_file = 1;
    buffer->file = &body->temp_file->file;
    buffer->file_last = body->temp_file->file.offset;
    buffer->last_buf = 1;
    *link = {buffer, nullptr};
    body->bufs = link;
    return true;
}

}  // namespace

ngx_int_t read_late_body(ngx_http_request_t* request) {
    // What asked for the body a second time has cleared this, and HTTP/2 would skip all that comes.
    request->request_body_no_buffering = 1;
    for (;;) {
        ngx_int_t rc = ngx_http_read_unbuffered_request_body(request);
        if (rc != NGX_OK && rc != NGX_AGAIN) {
            return rc;
        }
        bool more = request->request_body->bufs != nullptr;
        if (more && !spool(request)) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        if (rc == NGX_OK) {
            request->request_body_no_buffering = 0;
            return show_file(request) ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        if (!more) {
            return NGX_AGAIN;
        }
    }
}

}  // namespace owt
