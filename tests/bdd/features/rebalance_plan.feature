Feature: The operator sees what a rebalance will do before it does it

  Scenario: The plan for a node that joined moves only what the balance needs
    Given a cluster of nodes A, B and C without rebalancing on join
    When node D joins
    Then the plan moves 32 shards, all of them to node D
    When the operator starts a rebalance
    Then the shards are spread evenly
    And the plan is empty

  Scenario: The plan for a node that leaves moves only what it has
    Given a cluster of nodes A, B, C and D
    When node D is drained
    Then node D has no shards
    And no shard moved but those of node D
    And the shards of the others are spread evenly
    When node D is forgotten
    Then the proxy no longer shows node D

  Scenario: Shards move with their keys, and the rebalance tells how far it is
    Given a cluster of nodes A, B and C without rebalancing on join
    And 3000 keys
    When node D joins
    And the operator starts a rebalance
    Then the shards are spread evenly
    And all 3000 keys are there
    And the rebalance has nothing left to do
    And all 3000 keys are there

  Scenario: A rebalance can be paused and resumed
    Given a cluster of nodes A, B and C
    When the operator pauses the rebalance
    And node D joins
    Then the rebalance is paused, with 32 shards planned
    And node D has no shards
    When the operator resumes the rebalance
    Then the shards are spread evenly
    And the plan is empty

  Scenario: A rebalance can be cancelled
    Given a cluster of nodes A, B and C
    When the operator pauses the rebalance
    And node D joins
    And the operator cancels the rebalance
    And the operator resumes the rebalance
    Then the rebalance is not active
    And node D has no shards

  Scenario: A node that still has shards is not forgotten
    Given a cluster of nodes A, B and C
    When the operator forgets node B
    Then the operator is told to drain it first
