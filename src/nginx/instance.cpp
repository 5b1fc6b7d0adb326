#include "nginx/instance.hpp"

#include <pwd.h>
#include <sched.h>

#include <algorithm>

#include "nginx/publish.hpp"
#include "nginx/python_host.hpp"
#include "nginx/settings.hpp"
#include "nginx/sockets.hpp"

namespace owt {

namespace {

std::string in_quotes(std::string_view text) {
    return "\"" + std::string(text) + "\"";
}

bool is_name(std::string_view text) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return !text.empty() && text.size() <= 32 && text.find_first_not_of(allowed) == std::string_view::npos;
}

// nginx's master looks after 1024, and twice as many as run during a reload.
constexpr std::size_t most_processes = 400;

ngx_int_t assign_servers(ngx_conf_t* cf, MainConf& main, const ngx_http_core_main_conf_t& core) {
    auto** servers = begin_of<ngx_http_core_srv_conf_t*>(core.servers);
    for (ngx_uint_t i = 0; i < core.servers.nelts; i++) {
        ServerConf& server = *server_conf(servers[i]);
        server.number = begin_of<ngx_http_server_name_t>(servers[i]->server_names)->name.len == 0 ? i + 1 : 0;
        std::string_view name = server.instance_name.len > 0 ? to_view(server.instance_name) : "default";
        auto instance = std::ranges::find(*main.instances, name, &Instance::name);
        if (instance == main.instances->end()) {
            return fail(cf,
                        "\"owt_instance " + std::string(name) + "\": no such instance, add \"owt_instance " +
                            std::string(name) + " { }\" to the http block",
                        *server.place);
        }
        server.instance = static_cast<std::size_t>(instance - main.instances->begin());
        instance->served = true;
        instance->hosts_python |= server.owt || server.instance != 0;
    }
    std::size_t processes = 0;
    for (const Instance& instance : *main.instances) {
        processes += instance.processes + instance.spare;
        if (processes > most_processes) {
            return fail(cf, "the instances have more than " + std::to_string(most_processes) + " processes together",
                        instance.place);
        }
        if (!instance.served && instance.name != "default") {
            return fail(cf,
                        "\"owt_instance " + instance.name + " { }\" serves nothing, add \"owt_instance " +
                            instance.name + ";\" to a server",
                        instance.place);
        }
    }
    return NGX_OK;
}

// Whom calls run as. A line "user" that comes after this block is not known yet: then nginx's default, who may little.
User user_of(ngx_conf_t* cf) {
    if (::geteuid() != 0) {
        return {};
    }
    auto& core = *reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cf->cycle->conf_ctx, ngx_core_module));
    if (core.user != static_cast<ngx_uid_t>(NGX_CONF_UNSET_UINT)) {
        return {static_cast<uid_t>(core.user), core.group, core.username};
    }
    if (const passwd* user = ::getpwnam(NGX_USER); user != nullptr) {
        return {user->pw_uid, user->pw_gid, NGX_USER};
    }
    constexpr uid_t nobody = 65534;
    return {nobody, nobody, "nobody"};
}

ngx_int_t find_pythons(ngx_conf_t* cf, std::vector<Instance>& instances) {
    if (ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;  // "nginx -s stop" has to work, whatever has become of a Python
    }
    Interpreters interpreters(user_of(cf));
    for (Instance& instance : instances) {
        bool named = !instance.settings.python_home.empty();
        if (!named && !instance.hosts_python) {
            continue;
        }
        std::string complaint;
        try {
            instance.python = interpreters.in(instance.settings.python_home);
            std::string foreign = foreign_python(instance.python);
            if (foreign.empty()) {
                continue;
            }
            complaint = "nginx has loaded " + foreign + " already, for another module, so " +
                        instance.python.executable + " cannot run in its processes: take out that module's load_module";
        } catch (const std::exception& error) {
            complaint = error.what();
        }
        return named ? fail(cf, "\"python_home\" in \"owt_instance\": " + complaint, instance.python_place)
                     : fail(cf, "\"owt\": " + complaint, "the configuration");
    }
    return NGX_OK;
}

// One for all configurations of this master. Null if memory is short.
Scoreboard* scoreboard(ngx_cycle_t* cycle) {
    static Scoreboard* board = nullptr;
    if (board == nullptr) {
        try {
            board = &Scoreboard::make();
        } catch (const std::exception& error) {
            ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "owt: processes will know nothing of each other: %s",
                          error.what());
        }
    }
    return board;
}

void announce(ngx_cycle_t* cycle, MainConf& main) {
    main.board = scoreboard(cycle);
    if (main.board == nullptr) {
        return;
    }
    main.generation = main.board->next_generation();
    for (Instance& instance : *main.instances) {
        instance.number = main.board->location(instance.name, "");
    }
    for (const Located& located : *main.located) {
        const Instance& instance = (*main.instances)[server_conf(located.server)->instance];
        located.location->number = main.board->location(instance.name, to_view(located.location->name));
    }
    auto* listening = begin_of<ngx_listening_t>(cycle->listening);
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++) {
        main.board->listens(listening[i].fd, main.generation);
    }
}

// worker_cpu_affinity is written for the ordinary workers, with one thread each.
void run_on_any_cpu(ngx_cycle_t* cycle) {
    cpu_set_t cpus;
    if (::sched_getaffinity(ngx_parent, sizeof(cpus), &cpus) != 0 || ::sched_setaffinity(0, sizeof(cpus), &cpus) != 0) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno, "owt: sched_setaffinity() failed");
    }
}

}  // namespace

char* set_instance_block(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& instances = *static_cast<MainConf*>(conf)->instances;
    try {
        std::string name(to_view(begin_of<ngx_str_t>(*cf->args)[1]));
        if (!is_name(name)) {
            return fail(cf, "a name has letters, digits, \"_\", \"-\" and \".\", at most 32: " + in_quotes(name));
        }
        auto instance = std::ranges::find(instances, name, &Instance::name);
        if (instance == instances.end()) {
            instance = instances.emplace(instance);
            instance->name = name;
        } else if (!instance->place.empty()) {
            fail(cf, "\"owt_instance " + name + "\" is duplicate, the first is in " + instance->place, place_of(cf));
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        instance->place = place_of(cf);
        return parse_settings(cf, *instance);
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
}

char* set_instance_of_server(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& server = *static_cast<ServerConf*>(conf);
    if (server.instance_name.len > 0) {
        return const_cast<char*>("is duplicate");
    }
    server.instance_name = begin_of<ngx_str_t>(*cf->args)[1];
    try {
        *server.place = place_of(cf);
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
    return server.instance_name.len > 0 ? NGX_CONF_OK : const_cast<char*>("wants a name");
}

ngx_int_t init_instances(ngx_conf_t* cf) noexcept {
    MainConf& main = main_conf(cf);
    auto& core = *static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    try {
        if (assign_servers(cf, main, core) != NGX_OK || check_sockets(cf, main, user_of(cf).gid, core) != NGX_OK) {
            return NGX_ERROR;
        }
        assign_publications(main);
        return find_pythons(cf, *main.instances);
    } catch (const std::exception& error) {
        return fail(cf, error.what(), "the configuration");
    }
}

void add_worker_processes(ngx_cycle_t* cycle, MainConf& main) {
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    std::vector<Instance>& instances = *main.instances;
    instances[0].processes = static_cast<std::size_t>(core->worker_processes);
    if (!instances[0].hosts_python) {
        instances[0].spare = 0;
    }
    std::size_t workers = 0;
    for (Instance& instance : instances) {
        instance.first_worker = workers;
        workers += instance.processes + instance.spare;
    }
    core->worker_processes = static_cast<ngx_int_t>(workers);
    if (!ngx_test_config) {
        announce(cycle, main);
    }
}

const Instance& become_instance(ngx_cycle_t* cycle, MainConf& main) {
    std::vector<Instance>& instances = *main.instances;
    if (ngx_process == NGX_PROCESS_WORKER) {
        drop_clones(cycle);
    }
    if (instances.size() == 1) {
        return instances[0];
    }
    if (ngx_process == NGX_PROCESS_SINGLE) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "owt: with \"master_process off\" one process serves all, with the settings of "
                      "\"owt_instance default\"");
        instances[0].hosts_python = std::ranges::any_of(instances, &Instance::hosts_python);
        auto& published = instances[0].settings.published;
        for (std::size_t i = 1; i < instances.size(); i++) {
            const auto& more = instances[i].settings.published;
            published.insert(published.end(), more.begin(), more.end());
        }
        return instances[0];
    }
    std::size_t own = 0;
    while (own + 1 < instances.size() && ngx_worker >= instances[own + 1].first_worker) {
        own++;
    }
    auto* listening = begin_of<ngx_listening_t>(cycle->listening);
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++) {
        if (instance_of(listening[i]) != own) {
            drop(listening[i]);
        }
    }
    if (own != 0) {
        run_on_any_cpu(cycle);
        // Whoever holds the mutex sleeps with it, and an ordinary worker would not wake up for these sockets.
        ngx_use_accept_mutex = 0;
    }
    return instances[own];
}

}  // namespace owt
