#include "nginx/survey.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <map>
#include <tuple>

#include "call/problem.hpp"
#include "call/text.hpp"

namespace owt {

namespace {

constexpr std::array<std::string_view, 6> state_names = {"none", "starting", "spare", "ready", "retiring", "gone"};
constexpr std::array<std::string_view, 6> stage_names = {"none", "queued", "loading", "running", "streaming", "ending"};

template <std::size_t size>
std::string_view text_of(const std::array<char, size>& text) {
    return {text.data(), std::find(text.begin(), text.end(), '\0')};
}

// Of two numbers that are read one after the other while they grow.
std::uint64_t minus(std::uint64_t a, std::uint64_t b) {
    return a > b ? a - b : 0;
}

SeenProcess look_at(std::size_t place, const Process& process, const Row& row) {
    std::uint64_t ended = row.tally.ended;
    std::uint64_t begun = row.tally.begun;
    std::uint64_t shown = row.tally.shown;
    return {.place = place,
            .process = process,
            .running = minus(begun, ended),
            .queued = minus(shown, begun),
            .done = row.done,
            .failed = row.failed,
            .lost_threads = row.lost_threads,
            .rss = row.rss,
            .endpoints = row.endpoints};
}

// So many of the calls that there are in the row.
std::size_t add_calls(const Scoreboard& board, std::int32_t pid, const Row& row, std::vector<SeenCall>& calls) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < Row::most_calls; i++) {
        std::uint64_t word = row.stages[i].load(std::memory_order_acquire);
        auto stage = static_cast<std::size_t>(word & 0xFF);
        if (word == 0 || stage >= stage_names.size()) {
            continue;
        }
        auto seen = row.seen[i].read();
        if (!seen || seen->number != word >> 8) {
            continue;
        }
        found++;
        calls.push_back({.pid = pid,
                         .stage = static_cast<Stage>(stage),
                         .seen = *seen,
                         .location = board.location(seen->location).value_or(Location{})});
    }
    return found;
}

// ---- text

std::string number_text(double value) {
    std::array<char, 32> text;
    auto end = std::to_chars(text.data(), text.data() + text.size(), value);
    return {text.data(), end.ptr};
}

std::string seconds_text(std::int64_t nanoseconds) {
    std::array<char, 40> text;
    int n = std::snprintf(text.data(), text.size(), "%.3f", static_cast<double>(nanoseconds) / 1e9);
    return {text.data(), static_cast<std::size_t>(n)};
}

// An object of JSON, member by member.
class Object {
  public:
    explicit Object(std::string& out) : out_(out) { out_ += '{'; }

    void text(std::string_view name, std::string_view value) {
        begin(name);
        append_json(out_, value);
    }
    void number(std::string_view name, std::uint64_t value) { plain(name, std::to_string(value)); }
    void plain(std::string_view name, std::string_view value) {
        begin(name);
        out_ += value;
    }
    void end() { out_ += '}'; }

  private:
    void begin(std::string_view name) {
        out_ += first_ ? "\"" : ", \"";
        first_ = false;
        out_.append(name).append("\": ");
    }

    std::string& out_;
    bool first_ = true;
};

template <typename Items, typename Write>
std::string array_json(const Items& items, Write write) {
    std::string out = "[";
    bool first = true;
    for (const auto& item : items) {
        out += first ? "\n" : ",\n";
        first = false;
        Object object(out);
        write(object, item);
        object.end();
    }
    out += first ? "]" : "\n]";
    return out;
}

std::string digits_of(std::uint64_t endpoint) {
    auto digits = endpoint_digits(endpoint);
    return {digits.begin(), digits.end()};
}

// ---- Prometheus

void append_label(std::string& out, std::string_view name, std::string_view value) {
    out.append(out.ends_with('{') ? "" : ",").append(name).append("=\"");
    bool readable = is_utf8(value);  // a name may be anything, and a long one is cut somewhere
    for (char c : value) {
        if (!readable && static_cast<unsigned char>(c) >= 0x80) {
            c = '?';
        }
        if (c == '\\' || c == '"') {
            out += '\\';
        }
        if (c == '\n') {
            out += "\\n";
        } else {
            out += c;
        }
    }
    out += '"';
}

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

void append_sample(std::string& out, std::string_view name, const Labels& labels, std::string_view value) {
    out.append(name).append("{");
    for (const auto& [label, text] : labels) {
        append_label(out, label, text);
    }
    out.append("} ").append(value).append("\n");
}

void append_family(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
    out.append("# HELP ").append(name).append(" ").append(help).append("\n");
    out.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

// Of all processes that there were.
struct Sum {
    std::array<std::uint64_t, Durations::bounds.size() + 1> counts{};
    std::uint64_t nanoseconds = 0;

    void add(const Durations& durations) {
        for (std::size_t i = 0; i < counts.size(); i++) {
            counts[i] += durations.counts[i].load(std::memory_order_acquire);
        }
        nanoseconds += durations.nanoseconds.load(std::memory_order_relaxed);
    }
    std::uint64_t count() const {
        std::uint64_t sum = 0;
        for (std::uint64_t one : counts) {
            sum += one;
        }
        return sum;
    }
};

void append_histogram(std::string& out, std::string_view name, const Labels& labels, const Sum& sum) {
    std::uint64_t below = 0;
    std::string bucket = std::string(name) + "_bucket";
    for (std::size_t i = 0; i < sum.counts.size(); i++) {
        below += sum.counts[i];
        Labels with = labels;
        std::string bound = i < Durations::bounds.size() ? number_text(Durations::bounds[i]) : "+Inf";
        with.emplace_back("le", bound);
        append_sample(out, bucket, with, std::to_string(below));
    }
    append_sample(out, std::string(name) + "_sum", labels, number_text(static_cast<double>(sum.nanoseconds) / 1e9));
    append_sample(out, std::string(name) + "_count", labels, std::to_string(below));
}

struct Counts {
    Location location;
    std::array<Sum, outcome_names.size()> calls;
    Sum loads;
};

std::vector<Counts> counts_of(const Scoreboard& board) {
    std::vector<Counts> all;
    for (std::size_t number = 0; auto location = board.location(number); number++) {
        Counts& counts = all.emplace_back(Counts{.location = *location, .calls = {}, .loads = {}});
        board.each_counted(number, [&](const Counted& counted) {
            for (std::size_t i = 0; i < counts.calls.size(); i++) {
                counts.calls[i].add(counted.calls[i]);
            }
            counts.loads.add(counted.loads);
        });
    }
    return all;
}

void append_calls(std::string& out, const std::vector<Counts>& all) {
    auto each = [&](auto write) {
        for (const Counts& counts : all) {
            for (std::size_t i = 0; i < outcome_names.size(); i++) {
                // Those that there may be at any time are there from the first, so that they are seen to grow.
                bool usual = i == static_cast<std::size_t>(Outcome::success) ||
                             i == static_cast<std::size_t>(Outcome::server_error);
                if (counts.location.name[0] != '\0' && (usual || counts.calls[i].count() > 0)) {
                    write(Labels{{"instance", text_of(counts.location.instance)},
                                 {"location", text_of(counts.location.name)},
                                 {"status", outcome_names[i]}},
                          counts.calls[i]);
                }
            }
        }
    };
    append_family(out, "owt_calls_total", "counter", "Calls that have ended, by how they have for the client.");
    each([&](const Labels& labels, const Sum& sum) {
        append_sample(out, "owt_calls_total", labels, std::to_string(sum.count()));
    });
    append_family(out, "owt_call_duration_seconds", "histogram",
                  "From the request to the end of its answer, time in the queue included.");
    each(
        [&](const Labels& labels, const Sum& sum) { append_histogram(out, "owt_call_duration_seconds", labels, sum); });
    append_family(out, "owt_load_duration_seconds", "histogram", "What loading an endpoint took.");
    for (const Counts& counts : all) {
        if (counts.location.name[0] == '\0') {
            append_histogram(out, "owt_load_duration_seconds", {{"instance", text_of(counts.location.instance)}},
                             counts.loads);
        }
    }
}

void append_processes(std::string& out, const Survey& seen) {
    struct Family {
        std::string_view name, help;
        std::uint64_t (*value)(const SeenProcess&);
    };
    static constexpr std::array gauges = {
        Family{"owt_process_resident_memory_bytes", "Its memory, as it last looked.",
               [](const SeenProcess& one) { return one.rss; }},
        Family{"owt_process_start_time_seconds", "When it was started, in seconds since the epoch.",
               [](const SeenProcess& one) { return static_cast<std::uint64_t>(one.process.started_at); }},
        Family{"owt_process_calls_running", "Calls that have left its queue.",
               [](const SeenProcess& one) { return one.running; }},
        Family{"owt_process_calls_queued", "Calls in its queue.", [](const SeenProcess& one) { return one.queued; }},
        Family{"owt_process_lost_threads", "Threads that are stuck and have been replaced.",
               [](const SeenProcess& one) { return one.lost_threads; }},
        Family{"owt_process_endpoints", "Endpoints that it has loaded.",
               [](const SeenProcess& one) { return one.endpoints; }},
    };
    for (const Family& family : gauges) {
        append_family(out, family.name, "gauge", family.help);
        for (const SeenProcess& one : seen.processes) {
            std::string pid = std::to_string(one.process.pid);
            append_sample(out, family.name, {{"instance", text_of(one.process.name)}, {"pid", pid}},
                          std::to_string(family.value(one)));
        }
    }
}

void append_instances(std::string& out, const Survey& seen) {
    struct Of {
        std::uint64_t running = 0;
        std::uint64_t queued = 0;
        std::array<std::uint64_t, state_names.size()> states{};
    };
    std::map<std::string_view, Of> instances;
    for (const SeenProcess& one : seen.processes) {
        Of& of = instances[text_of(one.process.name)];
        of.running += one.running;
        of.queued += one.queued;
        of.states[std::min<std::size_t>(static_cast<std::size_t>(one.process.state), state_names.size() - 1)]++;
    }
    append_family(out, "owt_calls_running", "gauge",
                  "Calls that have left the queue, those that are loading included.");
    for (const auto& [name, of] : instances) {
        append_sample(out, "owt_calls_running", {{"instance", name}}, std::to_string(of.running));
    }
    append_family(out, "owt_calls_queued", "gauge", "Calls that wait for a thread.");
    for (const auto& [name, of] : instances) {
        append_sample(out, "owt_calls_queued", {{"instance", name}}, std::to_string(of.queued));
    }
    append_family(out, "owt_processes", "gauge", "Processes, by what they do.");
    for (const auto& [name, of] : instances) {
        for (std::size_t state = 1; state + 1 < state_names.size(); state++) {
            append_sample(out, "owt_processes", {{"instance", name}, {"state", state_names[state]}},
                          std::to_string(of.states[state]));
        }
    }
}

// A process of an older configuration that retires serves until one of the newer does.
bool serves(const SeenProcess& one, std::uint32_t newest) {
    return one.process.state == Process::State::ready ||
           (one.process.state == Process::State::retiring && one.process.generation < newest);
}

std::string count_text(std::size_t count, std::string_view what) {
    return std::to_string(count) + (count == 1 ? " is " : " are ") + std::string(what);
}

}  // namespace

Survey survey(const Scoreboard& board) {
    Survey seen;
    seen.newest = board.newest();
    std::map<std::uint64_t, std::vector<std::int32_t>> endpoints;
    board.each_process([&](std::size_t place, const Process& process) {
        const Row& row = board.row(place);
        SeenProcess& one = seen.processes.emplace_back(look_at(place, process, row));
        std::size_t listed = add_calls(board, process.pid, row, seen.calls);
        seen.hidden += minus(one.running + one.queued, std::max<std::uint64_t>(listed, Row::most_calls));
        for (const auto& endpoint : row.endpoint) {
            if (std::uint64_t number = endpoint) {
                endpoints[number].push_back(process.pid);
            }
        }
    });
    for (auto& [number, pids] : endpoints) {
        seen.endpoints.push_back({.number = number, .pids = std::move(pids)});
    }
    std::ranges::stable_sort(seen.calls, {}, [](const SeenCall& call) { return call.seen.since; });
    std::ranges::stable_sort(seen.processes, {}, [](const SeenProcess& one) {
        return std::make_tuple(text_of(one.process.name), one.process.generation, one.process.worker);
    });
    return seen;
}

std::string call_id(std::int32_t pid, std::uint64_t number) {
    return std::to_string(pid) + "-" + std::to_string(number);
}

std::optional<CallName> read_call_id(std::string_view text) {
    CallName name{};
    const char* end = text.data() + text.size();
    auto pid = std::from_chars(text.data(), end, name.pid);
    if (pid.ec != std::errc() || pid.ptr == end || *pid.ptr != '-') {
        return std::nullopt;
    }
    auto number = std::from_chars(pid.ptr + 1, end, name.number);
    if (number.ec != std::errc() || number.ptr != end || name.number == 0 || name.pid <= 0) {
        return std::nullopt;
    }
    return name;
}

std::string processes_json(const Survey& seen) {
    return array_json(seen.processes, [](Object& object, const SeenProcess& one) {
        auto state = std::min<std::size_t>(static_cast<std::size_t>(one.process.state), state_names.size() - 1);
        object.number("pid", static_cast<std::uint64_t>(one.process.pid));
        object.text("instance", text_of(one.process.name));
        object.text("state", state_names[state]);
        object.number("started", static_cast<std::uint64_t>(one.process.started_at));
        object.number("running", one.running);
        object.number("queued", one.queued);
        object.number("done", one.done);
        object.number("failed", one.failed);
        object.number("lost_threads", one.lost_threads);
        object.number("rss", one.rss);
        object.number("endpoints", one.endpoints);
    });
}

std::string calls_json(const Survey& seen, std::int64_t now) {
    return array_json(seen.calls, [&](Object& object, const SeenCall& call) {
        object.text("id", call_id(call.pid, call.seen.number));
        object.number("pid", static_cast<std::uint64_t>(call.pid));
        object.text("instance", text_of(call.location.instance));
        object.text("location", text_of(call.location.name));
        if (call.seen.endpoint != 0) {
            object.text("endpoint", digits_of(call.seen.endpoint));
        } else {
            object.plain("endpoint", "null");
        }
        object.text("function", text_of(call.seen.function));
        object.text("state", stage_names[static_cast<std::size_t>(call.stage)]);
        object.plain("age", seconds_text(std::max<std::int64_t>(now - call.seen.since, 0)));
        object.number("connection", call.seen.connection);
    });
}

std::string endpoints_json(const Survey& seen) {
    return array_json(seen.endpoints, [](Object& object, const SeenEndpoint& one) {
        object.text("endpoint", digits_of(one.number));
        std::string pids;
        for (std::int32_t pid : one.pids) {
            pids += (pids.empty() ? "" : ", ") + std::to_string(pid);
        }
        object.plain("pids", "[" + pids + "]");
    });
}

std::string all_json(const Survey& seen, std::int64_t now, std::string_view wrong) {
    std::string out;
    Object object(out);
    object.plain("ready", wrong.empty() ? "true" : "false");
    object.text("wrong", wrong);
    object.plain("processes", processes_json(seen));
    object.plain("calls", calls_json(seen, now));
    object.number("hidden", seen.hidden);
    object.plain("endpoints", endpoints_json(seen));
    object.end();
    out += '\n';
    return out;
}

std::string metrics_text(const Survey& seen, const Scoreboard& board) {
    std::string out;
    append_calls(out, counts_of(board));
    append_instances(out, seen);
    append_processes(out, seen);
    return out;
}

std::string what_is_wrong(const Survey& seen, const std::vector<std::string>& instances) {
    for (const std::string& name : instances) {
        std::size_t starting = 0;
        std::size_t retiring = 0;
        bool served = false;
        for (const SeenProcess& one : seen.processes) {
            if (text_of(one.process.name) != name) {
                continue;
            }
            served = served || serves(one, seen.newest);
            starting += one.process.state == Process::State::starting ? 1 : 0;
            retiring += one.process.state == Process::State::retiring ? 1 : 0;
        }
        if (!served) {
            std::string why =
                "no process of " + (name == "default" ? std::string("the ordinary workers") : name) + " serves calls";
            if (starting + retiring > 0) {
                why += ": ";
                why += starting > 0 ? count_text(starting, "starting") : "";
                why += starting > 0 && retiring > 0 ? ", " : "";
                why += retiring > 0 ? count_text(retiring, "being replaced") : "";
            }
            return why;
        }
    }
    return {};
}

}  // namespace owt
