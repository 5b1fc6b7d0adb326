// The one place that includes nginx's headers, and the conversions between its types and the standard ones.

#pragma once

extern "C" {
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include <ngx_channel.h>
}

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

extern "C" {
extern ngx_module_t ngx_http_owt_module;
}

namespace owt {

inline std::string_view to_view(const ngx_str_t& text) {
    return {reinterpret_cast<const char*>(text.data), text.len};
}

// A copy in the pool, with a NUL behind it; data is null if memory is short.
inline ngx_str_t to_ngx_str(ngx_pool_t* pool, std::string_view text) {
    auto* data = static_cast<u_char*>(ngx_pnalloc(pool, text.size() + 1));
    if (data == nullptr) {
        return ngx_null_string;
    }
    *ngx_copy(data, text.data(), text.size()) = '\0';
    return {text.size(), data};
}

ngx_str_t to_ngx_str(ngx_pool_t* pool, const char* text) = delete;

template <typename T>
T* begin_of(const ngx_array_t& array) {
    return static_cast<T*>(array.elts);
}

// Where the directive stands that is being read: file:line.
inline std::string place_of(const ngx_conf_t* cf) {
    return std::string(to_view(cf->conf_file->file.name)) + ":" + std::to_string(cf->conf_file->line);
}

// An object that lives as long as the pool; null if memory is short.
template <typename T, typename... Args>
T* make_in_pool(ngx_pool_t* pool, Args&&... args) {
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(pool, sizeof(T));
    if (cleanup == nullptr) {
        return nullptr;
    }
    T* object = std::construct_at(static_cast<T*>(cleanup->data), std::forward<Args>(args)...);
    cleanup->handler = [](void* data) { std::destroy_at(static_cast<T*>(data)); };
    return object;
}

}  // namespace owt
