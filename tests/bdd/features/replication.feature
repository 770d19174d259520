Feature: Data is on several nodes, and survives the loss of one
  Each shard has a primary and replicas on other nodes. A write is answered when every replica in
  sync has it, so whichever node dies, everything that was answered is still there.

  Scenario: With replication factor 2 stored data exists on 2 nodes
    Given a cluster of nodes A, B and C
    And 1000 keys
    Then every shard is on 2 nodes
    And both nodes of each shard have the same data
    And the nodes hold 2000 copies of keys together

  Scenario: With replication factor 3 stored data exists on 3 nodes
    Given a cluster of nodes A, B and C with replication factor 3
    And 300 keys
    Then every shard is on 3 nodes
    And the nodes hold 900 copies of keys together

  Scenario: The replication factor may be raised and lowered
    Given a cluster of nodes A, B and C
    And 300 keys
    When the replication factor is set to 3
    Then every shard is on 3 nodes
    And the nodes hold 900 copies of keys together
    When the replication factor is set to 1
    Then every shard is on 1 node
    And all 300 keys are there

  Scenario: The primary fails and the data is still retrievable
    Given a cluster of nodes A, B and C
    And 1000 keys
    When node B is killed
    Then every shard has one primary
    And no shard's primary is on node B
    And all 1000 keys are there
    When node B starts again
    Then every shard is on 2 nodes
    And the shards are spread evenly
    And all 1000 keys are there

  Scenario: What only a dead node had is made anew elsewhere
    Given a cluster of nodes A, B and C that replaces copies after 500 ms
    And 1000 keys
    When node C is killed
    Then every shard is on 2 nodes
    And no shard is on node C
    When node B is killed
    Then every shard has one primary
    And all 1000 keys are there

  Scenario: On default settings a silent node is unhealthy after 15 s and dead after 30 s, and its shards are reassigned
    Given a coordinator with default settings on a virtual clock
    When a node stops its heartbeats
    Then it is unhealthy after 15 s and dead after 30 s, and replicas in sync have its shards

  Scenario: A node that stops its heartbeats loses its shards to replicas
    Given a cluster of nodes A, B and C
    And 300 keys
    When node B falls silent
    Then node B is unhealthy after 3 missed heartbeats and dead after 6
    And no shard's primary is on node B
    And all 300 keys are there
    When node B is heard again
    Then the shards are spread evenly
    And every shard is on 2 nodes
    And all 300 keys are there

  Scenario: Replicas serve reads
    Given a cluster of nodes A, B and C
    And 300 keys
    When read-from is set to round-robin
    And each key of node A is read 20 times
    Then more than one node served those reads
    When read-from is set to primary
    And each key of node A is read 20 times
    Then only node A served those reads

  Scenario: A client that reads what was just written sees it, whichever replica answers
    Given a cluster of nodes A, B and C
    When read-from is set to round-robin
    And 4 clients write counters and other clients read each at once
    Then no read was older than the write that was answered before it

  Scenario: Replicas have what their primary has
    Given a cluster of nodes A, B and C
    When clients increment 100 counters
    And the clients stop
    Then no client got an error
    And every counter is what was acknowledged
    And both nodes of each shard have the same data
