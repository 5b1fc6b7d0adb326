// What there is to see of all processes at a moment, read from the scoreboard, and how it is told: as JSON, as
// Prometheus' text, as the one word that a load balancer wants. Whatever is being written, or was when its writer was
// killed, is left out. Needs no process but the one that asks. Pure: knows no nginx.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nginx/scoreboard.hpp"

namespace owt {

struct SeenProcess {
    std::size_t place = 0;  // with the master
    Process process{};
    std::uint64_t running = 0;  // calls
    std::uint64_t queued = 0;
    std::uint64_t done = 0;
    std::uint64_t failed = 0;
    std::uint64_t lost_threads = 0;
    std::uint64_t rss = 0;
    std::uint64_t endpoints = 0;
};

struct SeenCall {
    std::int32_t pid = 0;
    Stage stage = Stage::none;
    CallSeen seen{};
    Location location{};
};

struct SeenEndpoint {
    std::uint64_t number = 0;
    std::vector<std::int32_t> pids;  // in which it is loaded
};

struct Survey {
    std::vector<SeenProcess> processes;
    std::vector<SeenCall> calls;  // the oldest first
    std::uint64_t hidden = 0;     // calls for which their process has no place
    std::vector<SeenEndpoint> endpoints;
    std::uint32_t newest = 0;  // configuration
};

Survey survey(const Scoreboard& board);

// --- Names of things, as they are told and asked for.

std::string call_id(std::int32_t pid, std::uint64_t number);
struct CallName {
    std::int32_t pid;
    std::uint64_t number;
};
std::optional<CallName> read_call_id(std::string_view text);

// --- How it is told.

std::string processes_json(const Survey& seen);
std::string calls_json(const Survey& seen, std::int64_t now);  // of the steady clock, in nanoseconds
std::string endpoints_json(const Survey& seen);
std::string all_json(const Survey& seen, std::int64_t now, std::string_view wrong);

// Text format 0.0.4.
std::string metrics_text(const Survey& seen, const Scoreboard& board);

// What is wrong: an instance of these names without a process that serves. Empty: nothing.
std::string what_is_wrong(const Survey& seen, const std::vector<std::string>& instances);

}  // namespace owt
