Feature: What can be repeated safely is repeated, everything else is told
  A read, or a write that never left the proxy, is tried again until its deadline. Of a write that
  left when its connection broke the shard's log tells whether it was done. A write whose fate stays
  unknown is an error, never a second execution.

  Scenario: Reads go on when connections to the nodes break
    Given a cluster of nodes A, B and C
    And 300 keys
    When every connection of the proxy to the nodes is cut again and again during 2000 reads
    Then every read got its value

  Scenario: No write is executed twice when connections break
    Given a cluster of nodes A, B and C
    When every connection of the proxy to the nodes is cut again and again during 2000 increments
    Then every increment is acknowledged
    And every counter is at least what was acknowledged
    And no counter is more than what was sent

  Scenario: Requests of a shard without a primary wait for its return
    Given a cluster of nodes A, B and C that holds requests for 10000 ms
    When node B is killed
    And a client reads a key of node B
    And node B starts again
    Then the client gets an answer without an error

  Scenario: Requests do not wait for ever
    Given a cluster of nodes A, B and C without replicas that holds requests for 300 ms
    When node B is killed
    And a client reads a key of node B
    Then the client gets CLUSTERDOWN
