#include "nginx/view.hpp"

#include "nginx/conf.hpp"

namespace owt {

std::string_view view_of(ngx_http_request_t* request) {
    switch (location_conf(request).status) {
        case Showing::metrics:
            return "metrics";
        case Showing::health:
            return "health";
        default:
            break;
    }
    std::string_view path = to_view(request->uri);
    std::string_view location = to_view(location_conf(request).name);
    return path.starts_with(location) ? path.substr(location.size()) : path;
}

bool asks_for_health(ngx_http_request_t* request) {
    return location_conf(request).status != Showing::nothing && view_of(request) == "health";
}

}  // namespace owt
