#include "nginx/loop.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "nginx/sockets.hpp"

namespace owt {

namespace {

struct Watch {
    Descriptors* descriptors = nullptr;
    ngx_event_actions_t nginx{};
};

Watch& watch() {
    static auto& watch = *std::make_unique<Watch>().release();
    return watch;
}

// A number below 3 that was free is not nginx's to use.
void renumber(ngx_connection_t& connection) {
    int fd = ::fcntl(connection.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, fd < 0 ? ngx_errno : 0,
                  "owt: descriptor %d, which is stdin, stdout or stderr, had been closed by an adaptor: a connection "
                  "that got its number is closed, and all three are put back",
                  connection.fd);
    if (fd >= 0) {
        connection.fd = fd;  // which nginx closes
        watch().descriptors->put_back();
    }
}

// Programs that adaptors start would keep the connection open. False if it must not be used.
bool take(ngx_connection_t& connection) {
    if (connection.fd <= STDERR_FILENO) {
        renumber(connection);
        return false;
    }
    ::fcntl(connection.fd, F_SETFD, FD_CLOEXEC);
    return true;
}

// As ngx_http_close_connection() does it.
void close(ngx_connection_t* connection) {
#if (NGX_STAT_STUB)
    static_cast<void>(ngx_atomic_fetch_add(ngx_stat_active, -1));
#endif
    ngx_pool_t* pool = connection->pool;
    connection->destroyed = 1;
    ngx_close_connection(connection);
    ngx_destroy_pool(pool);
}

void accepted(ngx_connection_t* connection) noexcept {
    // A datagram's "connection" is the listening socket.
    if (connection->shared || take(*connection)) {
        ngx_connection_handler_pt handler = handler_of(*connection->listening);
        handler(connection);
    } else {
        close(connection);
    }
}

// Sockets to upstream servers.
ngx_int_t add_connection(ngx_connection_t* connection) noexcept {
    return take(*connection) ? watch().nginx.add_conn(connection) : NGX_ERROR;
}

// And to name servers.
ngx_int_t add_event(ngx_event_t* event, ngx_int_t what, ngx_uint_t flags) noexcept {
    auto* connection = static_cast<ngx_connection_t*>(event->data);
    if (connection->listening == nullptr && !connection->read->active && !connection->write->active &&
        !take(*connection)) {
        return NGX_ERROR;
    }
    return watch().nginx.add(event, what, flags);
}

ngx_int_t process_events(ngx_cycle_t* cycle, ngx_msec_t timer, ngx_uint_t flags) noexcept {
    ngx_int_t rc = watch().nginx.process_events(cycle, timer, flags);
    if (rc == NGX_ERROR) {
        check_descriptors();
    }
    return rc;
}

// An adaptor may have shut the listening socket down. That of TCP can be opened again; one of a unix socket cannot, and
// the loop would spin.
void reopen(ngx_connection_t& connection) {
    const ngx_listening_t& listening = *connection.listening;
    ::listen(connection.fd, listening.backlog);
    pollfd state{connection.fd, POLLIN, 0};
    if (::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0 && connection.read->active) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "owt: an adaptor has shut down the socket %V: nginx has to be restarted to listen there again",
                      &listening.addr_text);
        ngx_del_event(connection.read, NGX_READ_EVENT, 0);
    }
}

void accept_and_look(ngx_event_t* event) noexcept {
    ngx_set_errno(0);
    ngx_event_accept(event);
    if (ngx_errno == EBADF || ngx_errno == ENOTSOCK || ngx_errno == EINVAL) {
        auto& connection = *static_cast<ngx_connection_t*>(event->data);
        if (check_descriptors() && connection.fd != -1) {
            reopen(connection);
        }
    }
}

}  // namespace

void watch_loop(ngx_cycle_t* cycle, Descriptors& descriptors) {
    Watch& self = watch();
    self.descriptors = &descriptors;
    watch_connections(*cycle, accepted);
    for (ngx_uint_t i = 0; i < cycle->connection_n; i++) {
        ngx_connection_t& connection = cycle->connections[i];
        if (connection.fd != -1 && connection.read->handler == ngx_event_accept) {
            connection.read->handler = accept_and_look;
        }
    }
    self.nginx = ngx_event_actions;
    ngx_event_actions.add = add_event;
    ngx_event_actions.process_events = process_events;
    if (ngx_event_actions.add_conn != nullptr) {
        ngx_event_actions.add_conn = add_connection;
    }
}

bool check_descriptors() {
    Descriptors& descriptors = *watch().descriptors;
    if (!descriptors.put_back()) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "owt: stdin, stdout or stderr had been closed or replaced by an adaptor: all are put back");
    }
    const char* missing = descriptors.missing();
    if (missing != nullptr && !ngx_terminate) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "owt: an adaptor has closed %s: this process can serve nobody any more and ends", missing);
        ngx_terminate = 1;
    }
    return missing == nullptr;
}

}  // namespace owt
