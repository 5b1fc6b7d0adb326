#include "nginx/settings.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
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

// Whether there is a Python, and which, is asked where all of the configuration is known: see init_instances().
char* set_python_home(const Line& line, Instance& instance) {
    if (line.size != 2) {
        return line.fail("wants one directory: a virtualenv, a conda environment, or what a Python was installed into");
    }
    if (line[1].empty() || line[1][0] == '~' || line[1][0] == '$') {
        return line.fail("wants the whole path of a directory, as /opt/venv: nginx knows nothing of ~ and $HOME");
    }
    instance.settings.python_home = line.path(1);
    instance.python_place = place_of(line.cf);
    return NGX_CONF_OK;
}

char* add_env(const Line& line, Settings& settings) {
    for (std::size_t i = 1; i < line.size; i++) {
        std::size_t equals = line[i].find('=');
        if (equals == std::string_view::npos || equals == 0) {
            return line.fail("wants NAME=value, not " + std::string(line[i]));
        }
        settings.env.emplace_back(line[i].substr(0, equals), line[i].substr(equals + 1));
    }
    return NGX_CONF_OK;
}

char* add_preload(const Line& line, Settings& settings) {
    for (std::size_t i = 1; i < line.size; i++) {
        if (line[i].empty() || line[i] == "import" || line[i].find_first_of(" \t\n,;/") != std::string_view::npos) {
            return line.fail("wants names of modules, as in \"preload numpy torch.nn\", not \"" + std::string(line[i]) +
                             "\"");
        }
        settings.preload.emplace_back(line[i]);
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
    Instance& instance;
    std::set<std::string_view> seen;
};

char* set_processes(const Line& line, Instance& instance) {
    if (instance.name == "default") {
        return line.fail("is not for the ordinary workers: how many there are nginx's \"worker_processes\" says");
    }
    return set_count(line, 1, 256, instance.processes);
}

char* set(const Line& line, Block& block) {
    Settings& settings = block.instance.settings;
    constexpr auto any = static_cast<std::size_t>(std::numeric_limits<ngx_int_t>::max());
    if (line.size < 2) {
        return line.fail("wants a value");
    }
    if (line.name() == "processes") {
        return set_processes(line, block.instance);
    }
    if (line.name() == "spare") {
        return set_count(line, 0, 256, block.instance.spare);
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
        return set_python_home(line, block.instance);
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
        return add_preload(line, settings);
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
        if (result == NGX_CONF_OK && block.instance.spare > 0 &&
            std::ranges::any_of(block.instance.settings.env, numbered)) {
            return line.fail(
                "\"env\" with $index does not go with \"spare\": who takes another's place has another number");
        }
        return result;
    } catch (const std::exception& error) {
        return line.fail(error.what());
    }
}

}  // namespace

char* parse_settings(ngx_conf_t* cf, Instance& instance) noexcept {
    Block block{instance, {}};
    ngx_conf_t outer = *cf;
    cf->handler = settings_line;
    cf->handler_conf = reinterpret_cast<char*>(&block);
    char* result = ngx_conf_parse(cf, nullptr);
    *cf = outer;
    return result;
}

}  // namespace owt
