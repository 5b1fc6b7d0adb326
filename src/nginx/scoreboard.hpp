// The scoreboard: shared memory of the master's that all its processes inherit and that outlives every reload. A row
// for each process, which that process alone writes and all read; and what the processes of one configuration and of
// the next have to agree on: whose turn it is, who has opened which socket, who has which seat.
//
// Nobody locks anything, so nobody waits for a process that was killed. What is one number is an atomic; what belongs
// together is published, and a reader takes it whole or not at all. Pure: knows no nginx.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "call/published.hpp"
#include "call/sight.hpp"
#include "nginx/metrics.hpp"

namespace owt {

// What a process is. All zero: there has been none.
struct Process {
    enum class State : std::uint32_t {
        none,
        starting,  // Python is not up, or its modules are not preloaded
        spare,     // it could serve, and others do
        ready,
        retiring,  // it serves until others do, or finishes what it has begun
        gone,
    };

    std::int32_t pid;
    std::uint32_t generation;  // of the configuration, from 1
    std::uint32_t worker;      // nginx's number of it
    std::uint32_t instance;    // its index in that configuration
    State state;
    std::int64_t started_at;    // seconds since the epoch
    std::array<char, 40> name;  // of the instance

    // Gone, killed or never there.
    bool lives() const noexcept;
};

// What a number of calls is counted for, in all configurations of this master. An empty location: all of the instance.
struct Location {
    std::array<char, 40> instance;
    std::array<char, 96> name;  // as it stands in the configuration; the end of a long one is missing
};

// Words for a process, which it does when it is woken (channel.hpp). Each is one number, so that there are no halves.
struct Orders {
    static constexpr std::size_t most = 32;

    std::array<std::atomic<std::uint64_t>, most> stops;  // numbers of its calls
    std::array<std::atomic<std::uint64_t>, most> drops;  // endpoints, as endpoint_number() has them

    // From any process. False if it has been told so much already that it has yet to do.
    static bool give(std::array<std::atomic<std::uint64_t>, most>& orders, std::uint64_t what) noexcept;
    // In the process itself.
    template <typename Do>
    static void follow(std::array<std::atomic<std::uint64_t>, most>& orders, Do follow) {
        for (auto& order : orders) {
            if (order.load(std::memory_order_relaxed) != 0) {
                follow(order.exchange(0));
            }
        }
    }
};

// Of one process at a time: who comes after it in its place has the same.
struct Row {
    static constexpr std::size_t most_calls = 256;      // that are shown; others are only counted
    static constexpr std::size_t most_endpoints = 256;  // likewise
    static constexpr std::size_t most_locations = 96;   // of all instances; what is beyond is counted as one

    Published<Process> process;
    std::atomic<std::uint32_t> starts;  // since one was last ready
    // Since it was started. The first of these are exact; those below are looked at now and then.
    std::atomic<std::uint64_t> calls;  // that it has now, queued ones included
    std::atomic<std::uint64_t> done;
    std::atomic<std::uint64_t> failed;  // of these: a 5xx of owt's, or an answer that broke off
    std::atomic<std::uint64_t> lost_threads;
    std::atomic<std::uint64_t> rss;        // bytes
    std::atomic<std::uint64_t> endpoints;  // that are loaded

    Tally tally;
    std::array<std::atomic<std::uint64_t>, most_calls> stages;        // see CallPlace
    std::array<std::atomic<std::uint64_t>, most_endpoints> endpoint;  // by endpoint_number(); 0: none
    std::array<Published<CallSeen>, most_calls> seen;
    Orders orders;

    // Of all processes that were here, so that no number ever falls.
    std::array<Counted, most_locations> counted;

    // A free one; none if all are taken. hint: where to begin to look, and then where to begin next.
    CallPlace place(std::size_t& hint) noexcept;
    // One thread at a time.
    void has_endpoint(std::uint64_t number, bool loaded) noexcept;
};

class Scoreboard {
  public:
    static constexpr std::size_t most_processes = 1024;  // nginx's own limit
    static constexpr std::size_t most_sockets = 65536;

    // All zero. Throws std::system_error.
    static Scoreboard& make();

    // --- Configurations, in the order of their reloads.

    // In the master.
    std::uint32_t next_generation() noexcept { return ++generation_; }
    std::uint32_t newest() const noexcept { return generation_; }
    // Processes of this one were told to quit while it was the newest, so no others come and nobody need wait for them.
    void quits(std::uint32_t generation) noexcept;
    bool nobody_comes() const noexcept { return quitting_ >= generation_; }

    // --- Rows, by the place that a process has with the master.

    // What whoever was there before has left behind, a seat perhaps, is gone. Returns how many processes were started
    // there since one was last ready.
    std::uint32_t enter(std::size_t place, const Process& process) noexcept;
    Row& row(std::size_t place) noexcept { return rows_[place]; }
    const Row& row(std::size_t place) const noexcept { return rows_[place]; }

    template <typename Visit>
    void each_process(Visit visit) const {
        for (std::size_t place = 0; place < used_; place++) {
            auto process = rows_[place].process.read();
            if (process && process->lives()) {
                visit(place, *process);
            }
        }
    }

    // --- What is counted.

    // In the master. The same names always have the same number.
    std::size_t location(std::string_view instance, std::string_view name) noexcept;
    // nullopt if there is none of this number.
    std::optional<Location> location(std::size_t number) const noexcept;

    template <typename Visit>
    void each_counted(std::size_t location, Visit visit) const {
        for (std::size_t place = 0; place < used_; place++) {
            visit(rows_[place].counted[location]);
        }
    }

    // --- Listening sockets, by the number that they have in the master.

    void opened(int socket, std::uint32_t generation) noexcept;
    // By a process of a later configuration.
    bool opened_after(int socket, std::uint32_t generation) const noexcept;
    // In the master: the configuration has this socket.
    void listens(int socket, std::uint32_t generation) noexcept;
    bool listens(int socket) const noexcept;

    // --- Seats: so many processes of an instance serve, and the rest stand by.

    // The seats of an instance are count of them from first on. True if the process has one, now or before.
    bool take_seat(std::size_t first, std::size_t count, std::uint32_t generation, std::size_t place) noexcept;
    void leave_seat(std::size_t place) noexcept;

  private:
    struct Socket {
        std::atomic<std::uint32_t> listens;
        std::atomic<std::uint32_t> opened;
    };

    bool is_free(std::uint64_t seat, std::uint32_t generation) const noexcept;

    std::atomic<std::uint32_t> generation_;
    std::atomic<std::uint32_t> quitting_;
    std::atomic<std::size_t> used_;  // rows
    std::atomic<std::size_t> locations_used_;
    std::array<Published<Location>, Row::most_locations> locations_;
    std::array<Row, most_processes> rows_;
    std::array<std::atomic<std::uint64_t>, most_processes> seats_;  // generation and place of who has it
    std::array<Socket, most_sockets> sockets_;
};

}  // namespace owt
