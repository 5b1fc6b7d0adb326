#include "nginx/settings.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>

#include "nginx/landlock.hpp"

namespace owt {

namespace {

// One directive of the block, as nginx has split it up.
struct Line {
    ngx_conf_t* cf;
    ngx_str_t* values;
    std::size_t size;

    std::string_view name() const { return to_view(values[0]); }
    std::string_view operator[](std::size_t i) const { return to_view(values[i]); }

    // Always NGX_CONF_ERROR.
    char* fail(const std::string& why) const {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" in \"owt_instance\": %s", &values[0], why.c_str());
        return static_cast<char*>(NGX_CONF_ERROR);
    }

    // Relative to nginx's prefix.
    std::string path(std::size_t i) const {
        ngx_str_t full = values[i];
        return ngx_conf_full_name(cf->cycle, &full, 0) == NGX_OK ? std::string(to_view(full)) : std::string();
    }
};

char* set_count(const Line& line, std::size_t least, std::size_t most, std::size_t& target) {
    ngx_int_t n = line.size == 2 ? ngx_atoi(line.values[1].data, line.values[1].len) : NGX_ERROR;
    if (n == NGX_ERROR || static_cast<std::size_t>(n) < least || static_cast<std::size_t>(n) > most) {
        return line.fail("wants one number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    target = static_cast<std::size_t>(n);
    return NGX_CONF_OK;
}

// At first, and at most where all wait; one number is exactly so many.
char* set_threads(const Line& line, Settings& settings) {
    constexpr std::size_t most = 1024;
    if (line.size != 2 && line.size != 3) {
        return line.fail("wants one number or two, as in \"threads 8 64;\"");
    }
    std::array<std::size_t, 2> numbers{};
    for (std::size_t i = 1; i < line.size; i++) {
        ngx_int_t n = ngx_atoi(line.values[i].data, line.values[i].len);
        if (n == NGX_ERROR || n < 1 || static_cast<std::size_t>(n) > most) {
            return line.fail("wants numbers from 1 to " + std::to_string(most) + ", as in \"threads 8 64;\"");
        }
        numbers[i - 1] = static_cast<std::size_t>(n);
    }
    settings.threads = numbers[0];
    settings.most_threads = line.size == 3 ? numbers[1] : numbers[0];
    if (settings.most_threads < settings.threads) {
        return line.fail("the second number is how many there are at most, so it is not less than the first");
    }
    return NGX_CONF_OK;
}

char* set_time(const Line& line, const char* example, std::chrono::milliseconds& value) {
    ngx_int_t time = line.size == 2 ? ngx_parse_time(&line.values[1], 0) : NGX_ERROR;
    if (time == NGX_ERROR || time == 0) {
        return line.fail("wants a time, as in \"" + std::string(example) + ";\"");
    }
    value = std::chrono::milliseconds(time);
    return NGX_CONF_OK;
}

char* set_max_rss(const Line& line, Settings& settings) {
    off_t size = line.size == 2 || line.size == 3 ? ngx_parse_offset(&line.values[1]) : NGX_ERROR;
    off_t hard = line.size == 3 ? ngx_parse_offset(&line.values[2]) : 0;
    if (size == NGX_ERROR || size == 0 || hard == NGX_ERROR || (line.size == 3 && hard == 0)) {
        return line.fail("wants one size or two, as in \"max_rss 4g;\" or \"max_rss 4g 8g;\"");
    }
    if (hard != 0 && hard < size) {
        return line.fail("the second size is where the process ends at once, so it is not less than the first");
    }
    settings.max_rss = static_cast<std::size_t>(size);
    settings.max_rss_hard = static_cast<std::size_t>(hard);
    return NGX_CONF_OK;
}

// The X.Y of a virtualenv's Python, from its pyvenv.cfg (PEP 405; "version_info" is virtualenv's), empty if unknown.
std::string virtualenv_version(const std::string& home) {
    std::ifstream file(home + "/pyvenv.cfg");
    std::string line;
    while (std::getline(file, line)) {
        std::size_t equals = line.find('=');
        std::string key = line.substr(0, std::min(equals, line.find(' ')));
        if (equals == std::string::npos || (key != "version" && key != "version_info")) {
            continue;
        }
        std::size_t start = line.find_first_of("0123456789", equals);
        if (start == std::string::npos) {
            return {};
        }
        std::size_t minor = line.find('.', start);
        return line.substr(start, line.find('.', minor + 1) - start);
    }
    return {};
}

char* set_python_home(const Line& line, Settings& settings) {
    if (line.size != 2) {
        return line.fail("wants one directory, that of a virtualenv");
    }
    std::string home = line.path(1);
    std::error_code error;
    if (!std::filesystem::exists(home + "/bin/python3", error) ||
        !std::filesystem::exists(home + "/pyvenv.cfg", error)) {
        return line.fail("no virtualenv in " + home + ": make one with \"python3 -m venv " + home + "\"");
    }
    std::string version = virtualenv_version(home);
    if (version != python_version()) {
        return line.fail(home + " is of Python " + version + ", but owt is built with " + python_version() +
                         ": make the virtualenv with that");
    }
    settings.python_home = home;
    return NGX_CONF_OK;
}

char* add_env(const Line& line, Settings& settings) {
    for (std::size_t i = 1; i < line.size; i++) {
        std::size_t equals = line[i].find('=');
        if (equals == std::string_view::npos || equals == 0) {
            return line.fail("wants NAME=value");
        }
        settings.env.emplace_back(line[i].substr(0, equals), line[i].substr(equals + 1));
    }
    return NGX_CONF_OK;
}

char* add_writable(const Line& line, Settings& settings) {
    if (auto reason = landlock_missing()) {
        return line.fail(*reason);
    }
    for (std::size_t i = 1; i < line.size; i++) {
        std::string path = line.path(i);
        std::error_code error;
        if (!std::filesystem::is_directory(path, error)) {
            return line.fail(path + " is no directory");
        }
        settings.writable.push_back(path);
    }
    return NGX_CONF_OK;
}

struct Block {
    Settings& settings;
    std::size_t* processes;  // null: nginx's worker_processes says it
    std::size_t& spare;
    std::set<std::string_view> seen;
};

char* set_processes(const Line& line, std::size_t* processes) {
    if (processes == nullptr) {
        return line.fail("is not for the ordinary workers: how many there are nginx's \"worker_processes\" says");
    }
    return set_count(line, 1, 256, *processes);
}

char* set(const Line& line, Block& block) {
    Settings& settings = block.settings;
    constexpr auto any = static_cast<std::size_t>(std::numeric_limits<ngx_int_t>::max());
    if (line.size < 2) {
        return line.fail("wants a value");
    }
    if (line.name() == "processes") {
        return set_processes(line, block.processes);
    }
    if (line.name() == "spare") {
        return set_count(line, 0, 256, block.spare);
    }
    if (line.name() == "threads") {
        return set_threads(line, settings);
    }
    if (line.name() == "queue") {
        return set_count(line, 1, 1'000'000, settings.queue);
    }
    if (line.name() == "async") {
        return set_count(line, 1, 1'000'000, settings.async);
    }
    if (line.name() == "max_calls") {
        return set_count(line, 1, any, settings.max_calls);
    }
    if (line.name() == "grace") {
        return set_time(line, "grace 10s", settings.grace);
    }
    if (line.name() == "endpoints") {
        return set_count(line, 1, 1'000'000, settings.endpoints);
    }
    if (line.name() == "idle") {
        return set_time(line, "idle 30m", settings.idle);
    }
    if (line.name() == "max_rss") {
        return set_max_rss(line, settings);
    }
    if (line.name() == "python_home") {
        return set_python_home(line, settings);
    }
    if (line.name() == "python_path") {
        for (std::size_t i = 1; i < line.size; i++) {
            settings.python_path.push_back(line.path(i));
        }
        return NGX_CONF_OK;
    }
    if (line.name() == "env") {
        return add_env(line, settings);
    }
    if (line.name() == "preload") {
        for (std::size_t i = 1; i < line.size; i++) {
            settings.preload.emplace_back(line[i]);
        }
        return NGX_CONF_OK;
    }
    if (line.name() == "writable") {
        return add_writable(line, settings);
    }
    return line.fail(
        "unknown: known are processes, spare, threads, queue, async, grace, endpoints, idle, python_home, python_path, "
        "env, preload, writable, max_calls and max_rss");
}

// These may come several times, and add up.
constexpr std::array<std::string_view, 4> lists = {"python_path", "env", "preload", "writable"};

char* settings_line(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    Line line{cf, static_cast<ngx_str_t*>(cf->args->elts), cf->args->nelts};
    auto& block = *static_cast<Block*>(conf);
    try {
        if (!block.seen.insert(line.name()).second && std::ranges::find(lists, line.name()) == lists.end()) {
            return line.fail("is duplicate");
        }
        char* result = set(line, block);
        auto numbered = [](const auto& variable) { return variable.second.find(index_variable) != std::string::npos; };
        if (result == NGX_CONF_OK && block.spare > 0 && std::ranges::any_of(block.settings.env, numbered)) {
            return line.fail(
                "\"env\" with $index does not go with \"spare\": who takes another's place has another number");
        }
        return result;
    } catch (const std::exception& error) {
        return line.fail(error.what());
    }
}

}  // namespace

char* parse_settings(ngx_conf_t* cf, Settings& settings, std::size_t* processes, std::size_t& spare) noexcept {
    Block block{settings, processes, spare, {}};
    ngx_conf_t outer = *cf;
    cf->handler = settings_line;
    cf->handler_conf = reinterpret_cast<char*>(&block);
    char* result = ngx_conf_parse(cf, nullptr);
    *cf = outer;
    return result;
}

}  // namespace owt
