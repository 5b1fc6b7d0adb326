#include "nginx/aim.hpp"

#include <utility>

#include "call/text.hpp"
#include "nginx/answer.hpp"
#include "nginx/conf.hpp"
#include "nginx/state.hpp"

namespace owt {

namespace {

Problem not_published() {
    return {404, "not-published", "No function is published under this name."};
}

bool asks_for_page(ngx_http_request_t* request) {
    if (!(request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) {
        return false;
    }
    const RequestState* state = find_state(request);
    if (state != nullptr && state->verdict.kind == Verdict::Kind::confirm) {
        return true;  // a link from elsewhere is shown what it would call
    }
    if (request->args.len > 0 || request->headers_in.content_length_n > 0 || request->headers_in.chunked) {
        return false;
    }
    bool page = false;
    each_header(request->headers_in.headers, [&](const ngx_table_elt_t& header) {
        page = page || (same(to_view(header.key), "Accept") && wants_page(to_view(header.value)));
    });
    return page;
}

std::optional<Aim> aim_of(ngx_http_request_t* request) {
    return aim(**location_conf(request).published, to_view(request->uri), asks_for_page(request));
}

}  // namespace

std::optional<Problem> check_aim(ngx_http_request_t* request) {
    return aim_of(request) ? std::nullopt : std::optional(not_published());
}

std::optional<Problem> aim_call(ngx_http_request_t* request, Call::Asked& asked) {
    auto found = aim_of(request);
    if (!found) {
        return not_published();
    }
    const LocationConf& conf = location_conf(request);
    asked.published = *conf.published;
    asked.name = std::move(found->name);
    asked.query = to_view(request->args);
    Params& params = asked.params;
    params.published = true;
    params.use_cache = params.cache_kwargs = conf.keep && found->code_id != door;
    params.code_id = std::move(found->code_id);
    params.fn_name = std::move(found->function);
    return std::nullopt;
}

}  // namespace owt
