# usage: ruby redis-rb.rb plain|cluster PORT
# redis-rb with its default settings. Prints "fine", or says what was wrong.
require "redis"

kind, port = ARGV[0], ARGV[1].to_i
connect = lambda do
  kind == "cluster" ? Redis.new(cluster: ["redis://127.0.0.1:#{port}"]) : Redis.new(port: port)
end

def same(wanted, got)
  raise "wanted #{wanted.inspect}, got #{got.inspect}" unless wanted == got
end

r = connect.call
r.flushall
same "OK", r.set("s", 1)
same 42, r.incrby("s", 41)
same 2, r.hset("h", "a", 1, "b", 2)
same({ "a" => "1", "b" => "2" }, r.hgetall("h"))
same 3, r.rpush("l", %w[a b c])
same %w[a b c], r.lrange("l", 0, -1)
same 2, r.zadd("z", [[1, "one"], [2.5, "two"]])
same [["one", 1.0], ["two", 2.5]], r.zrange("z", 0, -1, with_scores: true)
id = r.xadd("x", { "f" => "v" })
same [[id, { "f" => "v" }]], r.xrange("x")
same 42, r.eval("return redis.call('incrby', KEYS[1], ARGV[1])", keys: ["{t}n"], argv: [42])
same ["OK", 2], r.multi { |t| t.set("{t}m", 1); t.incr("{t}m") }
300.times { |i| same "OK", r.set("key:#{i}", i) }
popped = Thread.new { connect.call.blpop("queue", timeout: 20) }
r.rpush("queue", "job")
same %w[queue job], popped.value
if kind == "plain"
  same 300, r.scan_each(match: "key:*").to_a.uniq.size
  same (0...100).map(&:to_s), r.pipelined { |p| 100.times { |i| p.get("key:#{i}") } }
  got = []
  ready = Queue.new
  listener = Thread.new do
    connect.call.subscribe("news") do |on|
      on.subscribe { ready << true }
      on.message { |_, text| got << text; Thread.current.exit if got.size == 20 }
    end
  end
  ready.pop
  20.times { |i| same 1, r.publish("news", i) }
  listener.join
  same (0...20).map(&:to_s), got
end
puts "fine"
