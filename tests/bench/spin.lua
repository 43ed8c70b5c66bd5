--- spin.lua SECONDS -- keeps a processor busy for so many of its seconds, as the steps of
--- flows/compute.lua do: the limit of several workers is as many of these.
package.path = arg[0]:match("^(.*/)") .. "flows/?.lua;" .. package.path
require "clock".spin(tonumber(arg[1]))
