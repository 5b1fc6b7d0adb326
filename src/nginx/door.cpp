#include "nginx/door.hpp"

namespace owt {

bool is_own(const ngx_listening_t& listening) {
    return listening.connection != nullptr && listening.connection->read->accept;
}

void start_listening(ngx_listening_t& listening) {
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(ngx_cycle->conf_ctx, ngx_core_module));
    ngx_uint_t flags = 0;
#if (NGX_HAVE_EPOLLEXCLUSIVE)
    if ((ngx_event_flags & NGX_USE_EPOLL_EVENT) && core->worker_processes > 1 && !listening.reuseport) {
        flags = NGX_EXCLUSIVE_EVENT;
    }
#endif
    if (ngx_add_event(listening.connection->read, NGX_READ_EVENT, flags) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, ngx_cycle->log, 0, "owt: cannot listen on %V", &listening.addr_text);
    }
}

void stop_listening(ngx_listening_t& listening) {
    if (listening.connection->read->active) {
        ngx_del_event(listening.connection->read, NGX_READ_EVENT, 0);
    }
}

}  // namespace owt
