# usage: ruby sidekiq.rb plain PORT
# Sidekiq's client, its way of fetching, its scheduled jobs and its counters, in one process.
require "sidekiq"
require "sidekiq/api"
require "sidekiq/fetch"
require "sidekiq/scheduled"

url = "redis://127.0.0.1:#{ARGV[1]}"
Sidekiq.configure_client { |config| config.redis = { url: url } }

class Adds
  include Sidekiq::Worker
  sidekiq_options queue: "sums"
  def perform(a, b); end
end

def same(wanted, got)
  raise "wanted #{wanted.inspect}, got #{got.inspect}" unless wanted == got
end

ids = (0...30).map { |i| Adds.perform_async(i, 1) }
same 30, Sidekiq::Queue.new("sums").size
Adds.perform_in(1000, 7, 7)
Adds.perform_bulk((0...10).map { |i| [i, i] })
same 1, Sidekiq::ScheduledSet.new.size
same 40, Sidekiq::Queue.new("sums").size
fetch = Sidekiq::BasicFetch.new({ queues: %w[urgent sums] })
got = (0...40).map { Sidekiq.load_json(fetch.retrieve_work.job)["jid"] }
same ids, got.first(30)
same 0, Sidekiq::Queue.new("sums").size
Sidekiq::ScheduledSet.new.each(&:add_to_queue)
same 1, Sidekiq::Queue.new("sums").size
same 1, Sidekiq::Queue.new("sums").clear.first
same 0, Sidekiq::Stats.new.enqueued
puts "fine"
