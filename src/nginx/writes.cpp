#include "nginx/writes.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include "nginx/landlock.hpp"
#include "nginx/sockets.hpp"

namespace owt {

namespace {

std::string directory_of(std::string_view file) {
    std::size_t slash = file.rfind('/');
    return slash == std::string_view::npos ? "." : std::string(file.substr(0, slash + 1));
}

// What nginx itself writes to: its temporary and cache directories, and those of its logs, since a log that is rotated
// away is made anew.
std::vector<std::string> nginx_directories(ngx_cycle_t* cycle) {
    std::vector<std::string> directories;
    auto** paths = static_cast<ngx_path_t**>(cycle->paths.elts);
    for (ngx_uint_t i = 0; i < cycle->paths.nelts; i++) {
        if (!is_for_sockets(*paths[i])) {
            directories.emplace_back(to_view(paths[i]->name));
        }
    }
    for (ngx_list_part_t* part = &cycle->open_files.part; part != nullptr; part = part->next) {
        auto* files = static_cast<ngx_open_file_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (files[i].name.len > 0) {
                directories.push_back(directory_of(to_view(files[i].name)));
            }
        }
    }
    return directories;
}

}  // namespace

void guard_writes(ngx_cycle_t* cycle, const Settings& settings) {
    if (settings.writable.empty()) {
        return;
    }
    std::vector<std::string> directories = nginx_directories(cycle);
    directories.insert(directories.end(), settings.writable.begin(), settings.writable.end());
    // Others' files in /tmp are theirs.
    std::string temporary = settings.sources + "/tmp";
    if (::mkdir(temporary.c_str(), 0700) != 0 && errno != EEXIST) {
        throw std::system_error(errno, std::generic_category(), "mkdir() of \"" + temporary + "\" failed");
    }
    ::setenv("TMPDIR", temporary.c_str(), 1);
    write_only_below(directories, usual_devices());
}

}  // namespace owt
