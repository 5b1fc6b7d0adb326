// What a page of owt's own may do, as a browser is told it: run the one script that it brings, and nothing that anybody
// could put in. Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>

namespace owt {

// The Content-Security-Policy of a page with this text in its <style> and this one in its <script>. An empty style: any
// that stands in it, for a page with frames of others' making, which go by the page's policy. further: what it may do
// besides, each part with a semicolon in front.
std::string content_policy(std::string_view style, std::string_view script, std::string_view further = "");

}  // namespace owt
