#include "nginx/channel.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <span>

namespace owt {

namespace {

// nginx's commands begin at 1, and its handler leaves others alone.
constexpr ngx_uint_t no_command = 0;

struct Ear {
    ngx_event_t start{};
    ngx_event_handler_pt nginx = [](ngx_event_t*) noexcept {};
    void (*heard)() = [] {};
};

Ear& ear() {
    static Ear ear;
    return ear;
}

void on_event(ngx_event_t* event) noexcept {
    ear().nginx(event);
    ear().heard();
}

// nginx begins to listen itself when all modules' init_process() have returned.
void start(ngx_event_t*) noexcept {
    std::span connections(ngx_cycle->connections, ngx_cycle->connection_n);
    auto own = std::ranges::find_if(connections, [](const ngx_connection_t& connection) {
        return connection.fd == ngx_channel && connection.read != nullptr && connection.read->channel;
    });
    if (own != connections.end()) {
        ear().nginx = std::exchange(own->read->handler, on_event);
    }
    ear().heard();
}

// An adaptor may have closed it, and the number may be a client's by now.
bool is_channel(int fd) {
    ucred peer{};
    socklen_t size = sizeof(peer);
    return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == ngx_parent;
}

}  // namespace

void listen_to_channel(ngx_cycle_t* cycle, void (*heard)()) {
    ear().heard = heard;
    ear().start.handler = start;
    ear().start.log = cycle->log;
    ngx_post_event(&ear().start, &ngx_posted_next_events);
}

// Not by ngx_write_channel(), which raises an [alert] if the other has just died.
void wake(std::size_t place) {
    ngx_channel_t message{};
    message.command = no_command;
    message.fd = -1;
    const ngx_process_t& process = ngx_processes[place];
    if (process.pid > 0 && process.channel[0] > 0 && is_channel(process.channel[0])) {
        ::send(process.channel[0], &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

void wake_others() {
    for (std::size_t place = 0; place < std::size(ngx_processes); place++) {
        if (place != static_cast<std::size_t>(ngx_process_slot)) {
            wake(place);
        }
    }
}

}  // namespace owt
