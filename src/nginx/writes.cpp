#include "nginx/writes.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "nginx/landlock.hpp"

namespace owt {

namespace {

// What nginx itself writes to.
struct Written {
    std::vector<std::string> directories;
    std::vector<std::string> files;
};

// A log that is rotated away is made anew, so its directory has to be writable, which is where a link leads. A device,
// as /dev/null or the /dev/stdout of a container, is not rotated, and its directory is everybody's.
void add_log(const std::string& log, Written& written) {
    struct stat status {};
    bool there = ::stat(log.c_str(), &status) == 0;
    if (there && !S_ISREG(status.st_mode)) {
        if (S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode)) {
            written.files.push_back(log);
        }
        return;
    }
    std::error_code error;
    auto real = std::filesystem::weakly_canonical(log, error);
    written.directories.push_back((error ? std::filesystem::path(log) : real).parent_path());
}

// Its temporary and cache directories, and its logs.
Written written_by_nginx(ngx_cycle_t* cycle) {
    Written written;
    auto** paths = static_cast<ngx_path_t**>(cycle->paths.elts);
    for (ngx_uint_t i = 0; i < cycle->paths.nelts; i++) {
        written.directories.emplace_back(to_view(paths[i]->name));
    }
    for (ngx_list_part_t* part = &cycle->open_files.part; part != nullptr; part = part->next) {
        auto* files = static_cast<ngx_open_file_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (files[i].name.len > 0) {
                add_log(std::string(to_view(files[i].name)), written);
            }
        }
    }
    return written;
}

}  // namespace

void guard_writes(ngx_cycle_t* cycle, const Settings& settings) {
    if (settings.writable.empty()) {
        return;
    }
    auto [directories, files] = written_by_nginx(cycle);
    directories.insert(directories.end(), settings.writable.begin(), settings.writable.end());
    // Others' files in /tmp are theirs.
    std::string temporary = settings.sources + "/tmp";
    if (::mkdir(temporary.c_str(), 0700) != 0 && errno != EEXIST) {
        throw std::system_error(errno, std::generic_category(), "mkdir() of \"" + temporary + "\" failed");
    }
    ::setenv("TMPDIR", temporary.c_str(), 1);
    std::vector<std::string> devices = usual_devices();
    files.insert(files.end(), devices.begin(), devices.end());
    write_only_below(directories, files);
}

}  // namespace owt
