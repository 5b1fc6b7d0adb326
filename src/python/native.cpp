#include "python/native.hpp"

#include <memory>
#include <utility>

namespace owt {

namespace {

constexpr std::size_t stack_size = 8 << 20;

struct Start {
    std::function<void()> body;
    pthread_t* thread;
};

}  // namespace

bool start_thread(std::function<void()> body, pthread_t* thread) {
    auto start = std::make_unique<Start>(Start{std::move(body), thread});
    auto entry = [](void* argument) -> void* {
        std::unique_ptr<Start> start(static_cast<Start*>(argument));
        if (start->thread != nullptr) {
            *start->thread = ::pthread_self();
        }
        start->body();
        return nullptr;
    };
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_size);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t id;
    int error = pthread_create(&id, &attributes, entry, start.get());
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        return false;
    }
    static_cast<void>(start.release());  // the thread owns it
    return true;
}

}  // namespace owt
