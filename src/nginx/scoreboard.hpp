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
#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>

namespace owt {

// A value that one process writes and others read meanwhile. An odd sequence number says that it is being written, for
// ever if its writer was killed; the next writer makes it whole.
template <typename T>
requires std::is_trivially_copyable_v<T>
class Published {
  public:
    // Who writes its own and then reads another's sees that, or is seen by it.
    void write(const T& value) noexcept {
        Words words{};
        std::memcpy(words.data(), &value, sizeof(value));
        std::uint32_t odd = sequence_.load(std::memory_order_relaxed) | 1;
        sequence_.store(odd, std::memory_order_relaxed);
        for (std::size_t i = 0; i < words.size(); i++) {
            words_[i].store(words[i], std::memory_order_release);
        }
        sequence_.store(odd + 1);
    }

    // nullopt if it cannot be had whole.
    std::optional<T> read() const noexcept {
        for (int attempt = 0; attempt < 100; attempt++) {
            std::uint32_t before = sequence_.load();
            Words words;
            for (std::size_t i = 0; i < words.size(); i++) {
                words[i] = words_[i].load(std::memory_order_acquire);
            }
            if (before % 2 == 0 && sequence_.load(std::memory_order_relaxed) == before) {
                T value;
                std::memcpy(&value, words.data(), sizeof(value));
                return value;
            }
        }
        return std::nullopt;
    }

  private:
    using Words = std::array<std::uint64_t, (sizeof(T) + 7) / 8>;

    std::atomic<std::uint32_t> sequence_;
    std::array<std::atomic<std::uint64_t>, std::tuple_size_v<Words>> words_;
};

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

// Of one process at a time: who comes after it in its place has the same.
struct Row {
    Published<Process> process;
    std::atomic<std::uint32_t> starts;  // since one was last ready
    // Since it was started. The first of these are exact; those below are looked at now and then.
    std::atomic<std::uint64_t> calls;  // that it has now, queued ones included
    std::atomic<std::uint64_t> done;
    std::atomic<std::uint64_t> failed;  // of these: a 5xx of owt's, or an answer that broke off
    std::atomic<std::uint64_t> queued;
    std::atomic<std::uint64_t> lost_threads;
    std::atomic<std::uint64_t> rss;  // bytes
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

    template <typename Visit>
    void each_process(Visit visit) const {
        for (std::size_t place = 0; place < used_; place++) {
            auto process = rows_[place].process.read();
            if (process && process->lives()) {
                visit(place, *process);
            }
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
    std::array<Row, most_processes> rows_;
    std::array<std::atomic<std::uint64_t>, most_processes> seats_;  // generation and place of who has it
    std::array<Socket, most_sockets> sockets_;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace owt
