#include "nginx/scoreboard.hpp"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <system_error>

namespace owt {

namespace {

void raise_to(std::atomic<std::uint32_t>& number, std::uint32_t least) {
    std::uint32_t current = number.load();
    while (current < least && !number.compare_exchange_weak(current, least)) {
    }
}

bool in_range(int socket) {
    return socket >= 0 && static_cast<std::size_t>(socket) < Scoreboard::most_sockets;
}

// 0: nobody's.
std::uint64_t seat_of(std::uint32_t generation, std::size_t place) {
    return std::uint64_t{generation} << 32 | (place + 1);
}

std::size_t place_of(std::uint64_t seat) {
    return (seat & 0xFFFFFFFF) - 1;
}

}  // namespace

bool Process::lives() const noexcept {
    return state != State::none && state != State::gone && (::kill(pid, 0) == 0 || errno == EPERM);
}

bool Orders::give(std::array<std::atomic<std::uint64_t>, most>& orders, std::uint64_t what) noexcept {
    return std::ranges::any_of(orders, [&](auto& order) {
        std::uint64_t current = 0;
        return order == what || order.compare_exchange_strong(current, what);
    });
}

CallPlace Row::place(std::size_t& hint) noexcept {
    if (tally.shown - tally.ended >= most_calls) {
        return {};
    }
    for (std::size_t tried = 0; tried < most_calls; tried++) {
        std::size_t at = hint;
        hint = (hint + 1) % most_calls;
        if (stages[at].load(std::memory_order_relaxed) == 0) {
            return {&stages[at], &seen[at]};
        }
    }
    return {};
}

void Row::has_endpoint(std::uint64_t number, bool loaded) noexcept {
    auto find = [&](std::uint64_t what) {
        return std::ranges::find_if(endpoint, [&](const auto& one) { return one == what; });
    };
    auto* known = find(number);
    if (!loaded && known != endpoint.end()) {
        *known = 0;
    } else if (loaded && known == endpoint.end()) {
        if (auto* free = find(0); free != endpoint.end()) {
            *free = number;
        }
    }
}

Scoreboard& Scoreboard::make() {
    void* memory =
        ::mmap(nullptr, sizeof(Scoreboard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(), "mmap() of the scoreboard failed");
    }
    // All of it is zero, and pages that nobody uses are never there.
    return *std::launder(static_cast<Scoreboard*>(memory));
}

void Scoreboard::quits(std::uint32_t generation) noexcept {
    raise_to(quitting_, generation);
}

std::uint32_t Scoreboard::enter(std::size_t place, const Process& process) noexcept {
    Row& row = rows_[place];
    auto before = row.process.read();
    leave_seat(place);
    if (before && (before->generation != process.generation || before->worker != process.worker)) {
        row.starts = 0;
    }
    for (auto* number : {&row.calls, &row.done, &row.failed, &row.lost_threads, &row.rss, &row.endpoints,
                         &row.tally.shown, &row.tally.begun, &row.tally.ended}) {
        *number = 0;
    }
    auto clear = [](auto& numbers) {
        for (auto& number : numbers) {
            number = 0;
        }
    };
    clear(row.stages);
    clear(row.endpoint);
    clear(row.orders.stops);
    clear(row.orders.drops);
    row.process.write(process, "publish_process");
    std::size_t used = used_;
    while (used <= place && !used_.compare_exchange_weak(used, place + 1)) {
    }
    return row.starts++;
}

std::size_t Scoreboard::location(std::string_view instance, std::string_view name) noexcept {
    Location wanted{};
    instance.copy(wanted.instance.data(), wanted.instance.size() - 1);
    name.copy(wanted.name.data(), wanted.name.size() - 1);
    std::size_t used = locations_used_;
    for (std::size_t number = 0; number < used; number++) {
        auto known = locations_[number].read();
        if (known && known->instance == wanted.instance && known->name == wanted.name) {
            return number;
        }
    }
    constexpr std::size_t last = Row::most_locations - 1;
    if (used > last) {
        return last;
    }
    if (used == last) {
        constexpr std::string_view rest = "others";
        wanted = {};
        rest.copy(wanted.instance.data(), rest.size());
        rest.copy(wanted.name.data(), rest.size());
    }
    locations_[used].write(wanted);
    locations_used_ = used + 1;
    return used;
}

std::optional<Location> Scoreboard::location(std::size_t number) const noexcept {
    return number < locations_used_ ? locations_[number].read() : std::nullopt;
}

void Scoreboard::opened(int socket, std::uint32_t generation) noexcept {
    if (in_range(socket)) {
        raise_to(sockets_[static_cast<std::size_t>(socket)].opened, generation);
    }
}

bool Scoreboard::opened_after(int socket, std::uint32_t generation) const noexcept {
    return !in_range(socket) || sockets_[static_cast<std::size_t>(socket)].opened > generation;
}

void Scoreboard::listens(int socket, std::uint32_t generation) noexcept {
    if (in_range(socket)) {
        sockets_[static_cast<std::size_t>(socket)].listens = generation;
    }
}

bool Scoreboard::listens(int socket) const noexcept {
    return in_range(socket) && sockets_[static_cast<std::size_t>(socket)].listens == generation_;
}

// Of a configuration before this one, or whoever had it has died and nobody has come in its place. A row that cannot be
// read may be of one that lives.
bool Scoreboard::is_free(std::uint64_t seat, std::uint32_t generation) const noexcept {
    if (seat >> 32 != generation) {
        return seat >> 32 < generation;
    }
    auto process = rows_[place_of(seat)].process.read();
    return process && (process->generation != generation || !process->lives());
}

bool Scoreboard::take_seat(std::size_t first, std::size_t count, std::uint32_t generation, std::size_t place) noexcept {
    auto seats = std::span(seats_).subspan(first, count);
    const std::uint64_t own = seat_of(generation, place);
    if (std::ranges::any_of(seats, [&](const auto& seat) { return seat == own; })) {
        return true;
    }
    return std::ranges::any_of(seats, [&](auto& seat) {
        std::uint64_t current = seat;
        return is_free(current, generation) && seat.compare_exchange_strong(current, own);
    });
}

void Scoreboard::leave_seat(std::size_t place) noexcept {
    for (auto& seat : seats_) {
        std::uint64_t current = seat;
        if (current != 0 && place_of(current) == place) {
            seat.compare_exchange_strong(current, 0);
        }
    }
}

}  // namespace owt
