Feature: The coordinator notices a node that stops answering
  Three missed heartbeats make a node unhealthy, six make it dead; one that is heard again is healthy
  again. A process that is gone is found at once. Meanwhile all other shards are served.

  Scenario: A silent node becomes unhealthy, then dead, and comes back
    Given a cluster of nodes A, B and C
    And 300 keys
    When node B falls silent
    Then node B is unhealthy after 3 missed heartbeats and dead after 6
    And all keys of the other nodes are still served without an error
    And a key that was of node B is answered
    When node B is heard again
    Then node B is healthy
    And all 300 keys are there

  Scenario: A short silence is no reason for alarm
    Given a cluster of nodes A, B and C with a heartbeat every 500 ms
    When node B falls silent for one heartbeat
    Then node B was healthy all the time

  Scenario: A killed node is known within a second, whatever the heartbeats
    Given a cluster of nodes A, B and C with a heartbeat every 5000 ms
    And 300 keys
    When node B is killed
    Then node B is dead within 1 second
    And all keys of the other nodes are still served without an error

  Scenario: A killed node that starts again is taken back
    Given a cluster of nodes A, B and C
    When node B is killed
    Then node B is dead within 1 second
    When node B starts again
    Then node B is healthy
    And every shard has one primary
    And a request for each node is answered

  Scenario: The coordinator's own pause is not held against the nodes
    Given a cluster of nodes A, B and C
    When the proxy is stopped for 10 heartbeats and goes on
    Then no node is called dead
    And a request for each node is answered
