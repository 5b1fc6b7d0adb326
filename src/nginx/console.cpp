#include "nginx/console.hpp"

#include <algorithm>

#include "call/locate.hpp"
#include "call/problem.hpp"
#include "nginx/answer.hpp"
#include "nginx/console_page.hpp"
#include "nginx/interpreter.hpp"

namespace owt {

void merge_console(const LocationConf& outer, LocationConf& inner) {
    ngx_flag_t above = outer.console;
    ngx_conf_merge_value(inner.console, above, 1);
}

ngx_int_t init_console(ngx_conf_t* cf) noexcept {
    try {
        MainConf& main = main_conf(cf);
        bool shown = std::ranges::any_of(*main.located, [](const Located& one) {
            return one.location->console != 0 && one.location->published == nullptr;
        });
        if (!shown) {
            return NGX_OK;
        }
        main.console = make_in_pool<ConsolePage>(cf->pool, read_console(own_directory() + "/owt"));
        return main.console != nullptr ? NGX_OK : NGX_ERROR;
    } catch (const std::exception& error) {
        // A nicety is no reason not to start.
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "owt: browsers that bring no code get no page to write some: %s; \"owt_console off;\" would be "
                      "content with that",
                      error.what());
        return NGX_OK;
    }
}

bool wants_console(ngx_http_request_t* request) {
    if (!(request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) || request != request->main) {
        return false;
    }
    const LocationConf& conf = location_conf(request);
    auto& sent = request->headers_in;
    return conf.console != 0 && conf.published == nullptr && main_conf(request).console != nullptr && !sent.chunked &&
           sent.content_length_n <= 0 && !names_code(to_view(request->args)) &&
           prefers_html(find_header(sent.headers, "Accept"));
}

ngx_int_t send_console(ngx_http_request_t* request) {
    ngx_int_t rc = ngx_http_discard_request_body(request);
    if (rc != NGX_OK) {
        return rc;
    }
    const ConsolePage& page = *main_conf(request).console;
    return send_page(request, page.headers(), page.text);
}

}  // namespace owt
