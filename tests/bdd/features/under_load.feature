Feature: Nodes come, go and die under load
  Clients go on without an error, and every increment that was answered is counted once, whatever
  happens to the nodes meanwhile.

  Scenario: A node joins
    Given a cluster of nodes A and B
    And 3000 keys
    When clients increment 100 counters
    And node C joins
    Then the shards are spread evenly
    And every shard is on 2 nodes
    When the clients stop
    Then no client got an error
    And every counter is what was acknowledged
    And all 3000 keys are there
    And both nodes of each shard have the same data

  Scenario: A node leaves
    Given a cluster of nodes A, B and C
    And 3000 keys
    When clients increment 100 counters
    And node C is drained
    Then node C has no shards
    And no shard is on node C
    And every shard is on 2 nodes
    When the clients stop
    Then no client got an error
    And every counter is what was acknowledged
    And all 3000 keys are there

  Scenario: A node is killed
    Given a cluster of nodes A, B and C
    And 1000 keys
    When clients increment 100 counters
    And node B is killed
    Then every shard has one primary
    And the clients go on
    When the clients stop
    Then no client got an error
    And every counter is what was acknowledged
    And all 1000 keys are there

  Scenario: A node's primaries are handed over
    Given a cluster of nodes A, B and C
    When clients increment 100 counters
    And the operator hands over what node A is primary of
    Then no shard's primary is on node A
    And the clients go on
    When the clients stop
    Then no client got an error
    And every counter is what was acknowledged

  Scenario: The coordinator is killed in the middle of a rebalance
    Given a cluster of nodes A, B and C without rebalancing on join
    And 3000 keys
    When node D joins
    And the operator starts a rebalance
    And the proxy is killed and comes back
    Then the shards are spread evenly
    And every shard is on 2 nodes
    And all 3000 keys are there

  Scenario: A target is killed in the middle of a rebalance
    Given a cluster of nodes A, B and C without rebalancing on join
    And 3000 keys
    When node D joins
    And the operator starts a rebalance
    And node D is killed
    Then every shard has one primary
    And all 3000 keys are there
    When node D starts again
    Then every shard is on 2 nodes
    And all 3000 keys are there
